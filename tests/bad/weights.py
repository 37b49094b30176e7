"""Weights files of every broken and hostile kind, as the path of a small ViT's weights."""

import json
import os
import pickle
import struct
import zipfile
from functools import cache

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file

from depthclip.encoder import FrozenCLIP
from tests.bad.judge import Case


@cache
def state():
    return open_clip.create_model("small-vit", pretrained=None).state_dict()


def with_quick_gelu(folder):
    """A small ViT with the activation that TorchScript archives need."""
    name = "small-vit-of-openai"
    if name not in open_clip.list_models():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(open_clip.get_model_config("small-vit") | {"quick_gelu": True}))
        open_clip.add_model_config(path)
    return name


class Evil:
    """Unpickling this makes a file."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


def changed(**entries):
    return state() | {key.replace("__", "."): value for key, value in entries.items()}


def saved(value):
    return lambda path: torch.save(value() if callable(value) else value, path)


def header(text, data=b""):
    return lambda path: path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + data)


def lying(**entry):
    return header(json.dumps({"visual.proj": {"dtype": "F32", "shape": [32, 48], "data_offsets": [0, 6144]} | entry}))


def half(path):
    save_file(state(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def half_of_torch(path):
    torch.save(state(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bomb(path, name="archive/data.pkl"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, b"\x00" * 2**26)


def damaged_zip(path):
    torch.save(state(), path)
    whole = bytearray(path.read_bytes())
    whole[-200:-100] = np.random.default_rng(2).bytes(100)
    path.write_bytes(whole)


class Runs(torch.nn.Module):
    """A TorchScript archive with code that runs while it is loaded."""

    @torch.jit.export
    def __getstate__(self) -> int:
        return 1

    @torch.jit.export
    def __setstate__(self, state: int) -> None:
        torch.save(torch.zeros(1), "pwned")
        self.training = False

    def forward(self, x):
        return x


def jit(module):
    return lambda path: torch.jit.script(module).save(str(path))


def false_jit(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/code/__torch__.py", "class Model: pass")
        archive.writestr("model/data.pkl", pickle.dumps(Evil()))


ONE = torch.ones(1)
FILES = {
    "empty.safetensors": lambda path: path.touch(),
    "empty.pt": lambda path: path.touch(),
    "folder.pt": lambda path: path.mkdir(),
    "pipe.pt": lambda path: os.mkfifo(path),
    "pipe.safetensors": lambda path: os.mkfifo(path),
    "device.pt": lambda path: path.symlink_to("/dev/zero"),
    "nowhere.pt": lambda path: path.symlink_to("gone"),
    "loop.pt": lambda path: path.symlink_to(path.name),
    "text.pt": lambda path: path.write_text("no weights here"),
    "text.safetensors": lambda path: path.write_text("no weights here"),
    "text.npz": lambda path: path.write_text("no weights here"),
    "noise.pt": lambda path: path.write_bytes(np.random.default_rng(0).bytes(4096)),
    "noise.safetensors": lambda path: path.write_bytes(np.random.default_rng(1).bytes(4096)),
    "half.safetensors": half,
    "half.pt": half_of_torch,
    "damaged.pt": damaged_zip,
    "pickle.pt": lambda path: path.write_bytes(pickle.dumps({"state_dict": Evil()})),
    "pickle in torch.pt": saved(lambda: {"state_dict": {"a": Evil()}}),
    "pickle beside.pt": saved(lambda: state() | {"evil": Evil()}),
    "pickled array.npy": lambda path: np.save(path, np.array([Evil()], dtype=object)),
    "list.pt": saved([1, 2]),
    "number.pt": saved(7),
    "words.pt": saved({"a": "b"}),
    "nothing.pt": saved({}),
    "empty state.pt": saved({"state_dict": {}}),
    "state is a list.pt": saved({"state_dict": [1]}),
    "keys are numbers.pt": saved({1: ONE}),
    "another model.pt": saved({"weight": ONE}),
    "another model.safetensors": lambda path: save_file({"weight": ONE}, path),
    "another architecture.pt": saved(lambda: open_clip.create_model("small-resnet").state_dict()),
    "one key less.pt": saved(lambda: {key: value for key, value in state().items() if key != "visual.proj"}),
    "one key more.pt": saved(lambda: changed(more=ONE)),
    "other shape.pt": saved(lambda: changed(visual__proj=torch.zeros(32, 47))),
    "no shape.pt": saved(lambda: changed(visual__proj=torch.zeros(()))),
    "NaN.pt": saved(lambda: changed(visual__proj=torch.full((32, 48), torch.nan))),
    "one NaN.pt": saved(lambda: changed(ln_final__bias=torch.tensor([torch.nan] + [0.0] * 31))),
    "infinite.pt": saved(lambda: changed(visual__proj=torch.full((32, 48), torch.inf))),
    "NaN.safetensors": lambda path: save_file(changed(visual__proj=torch.full((32, 48), torch.nan)), path),
    "overflow of halves.pt": saved(lambda: changed(visual__proj=torch.full((32, 48), 1e9).half())),
    "huge scale.pt": saved(lambda: changed(logit_scale=torch.tensor(1e3))),
    "large scale.pt": saved(lambda: changed(logit_scale=torch.tensor(50.0))),
    "bomb.pt": bomb,
    "bomb.npz": lambda path: bomb(path, "a.npy"),
    "bomb of code.pt": lambda path: bomb(path, "model/code/a.py"),
    "false archive.pt": false_jit,
    "archive of another.pt": jit(torch.nn.Linear(2, 2)),
    "archive that runs.pt": jit(Runs()),
    "header of a terabyte.safetensors": lambda path: path.write_bytes(struct.pack("<Q", 2**40) + b"{}"),
    "header is a list.safetensors": header("[1]"),
    "header is empty.safetensors": header("{}"),
    "offsets beyond.safetensors": lying(),
    "negative offsets.safetensors": lying(data_offsets=[-8, 8]),
    "huge shape.safetensors": lying(shape=[2**40, 2**20]),
    "unknown type.safetensors": lying(dtype="F99"),
    "zip.safetensors": lambda path: bomb(path),
}


def case(name, write):
    def run(folder):
        path = folder / name
        write(path)
        try:
            FrozenCLIP(with_quick_gelu(folder), str(path), "tokens", normalization="openai")
        finally:
            assert not (folder / "pwned").exists(), "the file ran code"

    return Case("weights", name, run, (name, "pretrained"))


CASES = [
    *(case(name, write) for name, write in FILES.items()),
    Case(
        "weights",
        "without normalization",
        lambda folder: saved(state)(folder / "a.pt") or (FrozenCLIP("small-vit", "a.pt", "tokens") and None),
        ("a.pt", "normalization"),
    ),
]
