"""Checkpoints of every broken kind."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from depthclip import DepthCLIP, checkpoint
from depthclip.checkpoint import RECIPE, read_checkpoint
from tests.bad.command_line import DATA, MODEL, command, recipe
from tests.bad.judge import Case

PATH = "bad.ckpt"


def good() -> dict[str, Any]:
    """Return the content of a checkpoint whose form is right."""
    return {
        "state_dict": {"head.x": torch.zeros(2)},
        RECIPE: checkpoint.recipe(MODEL, "small-resnet", "0" * 16, 7, DATA),
    }


def saved(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return a writer of a checkpoint with a change."""

    def write(folder: Path) -> None:
        content = good()
        changed = change(content)
        torch.save(content if changed is None else changed, folder / PATH)

    return write


def raw(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / PATH).write_bytes(content) and None


def cut(share: float) -> Callable[[Path], None]:
    """Return a writer of a part of a checkpoint."""

    def write(folder: Path) -> None:
        saved(lambda content: None)(folder)
        whole = (folder / PATH).read_bytes()
        (folder / PATH).write_bytes(whole[: int(len(whole) * share)])

    return write


def damage(folder: Path) -> None:
    saved(lambda content: None)(folder)
    whole = bytearray((folder / PATH).read_bytes())
    whole[len(whole) // 3 : len(whole) // 2] = bytes(len(whole) // 2 - len(whole) // 3)
    (folder / PATH).write_bytes(whole)


class Bomb:
    def __reduce__(self):
        return print, ("run",)


def setting(**changes):
    return saved(lambda content: content[RECIPE].update(changes))


def model_setting(**changes):
    return saved(lambda content: content[RECIPE].update(settings={**MODEL, **changes}))


BROKEN = {
    "gone": lambda folder: None,
    "empty": raw(b""),
    "half": cut(0.5),
    "a tenth": cut(0.1),
    "all but the end": cut(0.99),
    "damaged": damage,
    "garbage": raw(os.urandom(1000)),
    "text": raw(b"not a checkpoint"),
    "a zip of nothing": raw(b"PK\x05\x06" + bytes(18)),
    "a folder": lambda folder: (folder / PATH).mkdir(),
    "a pipe": lambda folder: os.mkfifo(folder / PATH),
    "a loop of links": lambda folder: (folder / PATH).symlink_to(PATH),
    "a pickled bomb": raw(pickle.dumps(Bomb())),
    "a bomb in a torch file": saved(lambda content: content.update(bomb=Bomb())),
    "a list": saved(lambda content: [1]),
    "a number": saved(lambda content: 3),
    "no state": saved(lambda content: content.pop("state_dict") and None),
    "no recipe": saved(lambda content: content.pop(RECIPE) and None),
    "a state that is a list": saved(lambda content: content.update(state_dict=[1])),
    "a state of numbers": saved(lambda content: content.update(state_dict={"head.x": 3})),
    "NaN": saved(lambda content: content.update(state_dict={"head.x": torch.full((2,), torch.nan)})),
    "infinity": saved(lambda content: content.update(state_dict={"head.x": torch.full((2,), torch.inf)})),
    "recipe is a list": saved(lambda content: content.update({RECIPE: [1]})),
    "recipe is empty": saved(lambda content: content.update({RECIPE: {}})),
    "settings are a list": setting(settings=[1]),
    "settings are text": setting(settings="x"),
    "bins are text": setting(bins="7"),
    "weights are a number": setting(weights=3),
    "no clip": setting(clip=None),
}
SETTINGS = {
    "no settings": (setting(settings={}), ("load_learned",)),
    "a setting unknown": (model_setting(nonsense=3), ("nonsense",)),
    "a number that is text": (model_setting(max_side="x"), ("max_side", "'x'")),
    "a head that is a number": (model_setting(head=3), ("head", "3")),
    "no head": (setting(settings={"encoder": MODEL["encoder"]}), ("head",)),
    "a class of another package": (model_setting(loss={"class_path": "torch.nn.L1Loss"}), ("torch.nn.L1Loss",)),
    "a class that is gone": (model_setting(loss={"class_path": "depthclip.losses.Gone"}), ("depthclip.losses.Gone",)),
    "a dotted key": (model_setting(**{"head.bins": 3}), ("head.bins",)),
    "a key that is a number": (setting(settings={**MODEL, 3: 4}), ("3",)),
    "other weights": (setting(), ("small-resnet", "fingerprint")),
    "another CLIP": (setting(clip="RN50"), ("RN50", "small-resnet")),
}


def read(name: str) -> Case:
    def tried(folder: Path) -> None:
        BROKEN[name](folder)
        read_checkpoint(folder / PATH)

    return Case("checkpoint", name, tried, (PATH,))


def loaded(name: str) -> Case:
    write, names = SETTINGS[name]

    def tried(folder: Path) -> None:
        write(folder)
        DepthCLIP.load(folder / PATH)

    return Case("checkpoint load", name, tried, names)


def run(name: str, subcommand: str, write: Callable[[Path], Any], *names: str, alone: bool = False) -> Case:
    """Return the case of a checkpoint on the command line, beside a recipe or alone."""

    def tried(folder: Path) -> str | None:
        write(folder)
        given = [] if alone else ["-c", recipe(folder)]
        return command(subcommand, *given, "--ckpt_path", PATH, "--trainer.accelerator=cpu", "--trainer.devices=1")

    return Case(f"checkpoint {subcommand}{' alone' if alone else ''}", name, tried, names)


def keyword(word: str, subcommand: str) -> Case:
    return Case(
        f"checkpoint {subcommand}", word,
        lambda folder: command(subcommand, "-c", recipe(folder), "--ckpt_path", word), ("checkpoint", word),
    )  # fmt: skip


TESTED = ("half", "a folder", "a pickled bomb", "NaN", "recipe is a list")
ALONE = ("gone", "a pipe", "settings are text", "no state")
RESUMED = ("half", "a bomb in a torch file", "a state of numbers")
WORDS = ("best", "last", "hpc", "/", "", "nowhere.ckpt", "http://127.0.0.1:9/x.ckpt")
CASES = [
    *(read(name) for name in BROKEN),
    *(loaded(name) for name in SETTINGS),
    *(run(name, "test", BROKEN[name], PATH) for name in TESTED),
    *(run(name, "test", BROKEN[name], PATH, alone=True) for name in ALONE),
    *(run(name, "fit", BROKEN[name], PATH) for name in RESUMED),
    run("a bomb in a torch file", "predict", BROKEN["a bomb in a torch file"], PATH),
    *(
        run(name, "test", SETTINGS[name][0], *SETTINGS[name][1], alone=True)
        for name in ("no settings", "a setting unknown")
    ),
    run("other weights", "test", setting(), "small-resnet", "fingerprint"),
    *(keyword(word, "test") for word in WORDS),
    keyword("best", "fit"),
]
