"""Options that are unknown, of another type, out of range or unfinished."""

import functools
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import yaml
from jsonargparse import capture_parser

from depthclip.__main__ import main
from depthclip.arguments import check_name, prepare, take_trust
from depthclip.cli import depth_cli, parsing
from tests.bad.judge import Case

MODEL = {
    "encoder": {"name": "small-resnet", "pretrained": None, "readout": "released"},
    "head": {"prompts": {"words": "depthclip"}, "bins": {"values": "depthclip"}},
    "panels": 0,
}
DATA = {"class_path": "depthclip.data.Rooms", "init_args": {"train_size": 1, "val_size": 1, "test_size": 1}}
WHOLE = {"name": "x", "model": MODEL, "data": DATA, "trainer": {"accelerator": "cpu", "devices": 1}}


def recipe(folder: Path, **changes) -> str:
    """Write a whole recipe and return its path."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**WHOLE, **changes}))
    return str(path)


def command(*args: str) -> str | None:
    """Return what the command line prints to standard error, or None if it accepts the arguments."""
    errors = io.StringIO()
    with redirect_stderr(errors), redirect_stdout(io.StringIO()):
        code = main([*args])
    return None if code == 0 else errors.getvalue().replace("Seed set to 0\n", "")


@functools.cache
def parser():
    """Return the parser of the command line, built once."""
    with parsing(["test"], []):
        return capture_parser(lambda: depth_cli(["test"]))


def parse(*args: str) -> None:
    """Parse a command line without running it."""
    prepared, trusted = prepare(args)
    with parsing(prepared, trusted):
        parser().parse_args(prepared)


def option(key: str, value: str, *names: str) -> Case:
    """Return the case of an option whose value does not fit."""
    return Case(
        "option",
        f"{key} = {value}",
        lambda folder: parse("test", "-c", recipe(folder), f"--{key}", value),
        (key.rpartition(".")[2], *(names or (value,))),
    )


def unknown(args: list[str], *names: str) -> Case:
    """Return the case of arguments that no option takes."""
    return Case("unknown option", " ".join(args), lambda folder: parse("test", "-c", recipe(folder), *args), names)


def called(name: object) -> Case:
    return Case("name", repr(name)[:60], lambda folder: check_name(name), ("name",))


def run(name: str, *args: str, names: tuple[str, ...] = ()) -> Case:
    """Return the case of a whole command line, with RECIPE in place of a recipe's path."""
    return Case(
        "command",
        name,
        lambda folder: command(*(recipe(folder) if arg == "RECIPE" else arg for arg in args)),
        names,
    )


NUMBERS = ("model.head.temperature", "model.learning_rate", "model.weight_decay", "model.head.logit_scale")
COUNTS = ("model.max_side", "model.panels", "data.loading.batch_size", "data.test_size", "trainer.max_epochs")
SWITCHES = ("model.mirror", "model.training_baselines", "trainer.enable_progress_bar")
CLASSES = {"model.loss": "SILg", "data": "Roms", "model.head.bins": "LogBnis", "model.head.prompts": "LearnedWord"}
NAMES = ("../../outside", "/x", "..", "a/../../b", "", "~/x", "a\nb", "\x00", "a\\b", "x" * 300)

CASES = [
    *(option(key, value) for key in NUMBERS for value in ("abc", "1,5", "[1]")),
    *(option(key, value) for key in COUNTS for value in ("abc", "1.5")),
    *(option(key, value) for key in SWITCHES for value in ("maybe", "2")),
    *(option(key, value) for key, value in CLASSES.items()),
    option("model.head.bins.values", "[a]", "a"),
    option("model.head.bins.values", "{a: 1}", "a"),
    option("model.head.prompts.words", "{a: 1}", "a"),
    option("model.head.assignment", "maybe"),
    option("model.published", "{a: 1}", "a"),
    option("model.published", "[1]", "1"),
    option("model.variants", "3"),
    option("model.variants", "[1]", "1"),
    option("model.head", "nowhere.yaml"),
    option("model.encoder.readout", "{class_path: nowhere.Readout}", "nowhere.Readout"),
    option("model.loss", "{class_path: depthclip.losses.Nothing}", "depthclip.losses.Nothing"),
    option("model.loss", "os.system"),
    option("trainer.logger", "{class_path: nowhere.Logger}", "nowhere.Logger"),
    option("trainer.callbacks", "{class_path: os.system}", "os.system"),
    option("data.view", "{size: x}", "size", "x"),
    option("data.view", "{sise: [1, 2]}", "sise", "size"),
    option("data.view", "whle", "whle", "whole"),
    option("data.view", "{preset: whle, mirror: true}", "whle", "whole"),
    option("data.scoring", "{preset: whole, max: 3}", "max", "max_depth"),
    option("seed_everything", "abc"),
    option("trainer.precision", "nonsense"),
    unknown(["--model.temperature", "1"], "temperature", "model"),
    unknown(["--model.head.temprature", "1"], "temprature", "temperature"),
    unknown(["--model.haed.temperature", "1"], "haed"),
    unknown(["--fov", "60"], "'fov'", "use --data.fov"),
    unknown(["--max_epochs", "3"], "'max_epochs'", "use --trainer.max_epochs"),
    unknown(["--modle.panels", "1"], "modle", "model"),
    unknown(["--trainer.max_epoch", "1"], "max_epoch", "max_epochs"),
    unknown(["--trainer.max_epoch=1"], "max_epoch", "max_epochs"),
    unknown(["--data.sise", "1"], "sise"),
    unknown(["--data.test_sise", "1"], "test_sise", "test_size"),
    unknown(["--nam", "x"], "nam", "name"),
    unknown(["--epochs", "3"], "epochs"),
    unknown(["more"], "more"),
    unknown(["--model.loss", "{class_path: depthclip.losses.SILog, init_args: {scael: 3}}"], "scael", "scale"),
    unknown(["--model.head.bins", "{class_path: LogBins, init_args: {cout: 3}}"], "cout", "count"),
    unknown(["--model.variants", "{a: {prompts: {words: depthclip}, bin: 3}}"], "bin", "bins"),
    unknown(["--data", "{class_path: Rooms, init_args: {tset_size: 3}}"], "tset_size", "test_size"),
    option("model.alignments", "median", "must be a list", "such as [median]"),
    option("model.alignments", "[medain]", "medain", "must be a list of 'none', 'median'"),
    option("model.errors", "[Spearmann]", "Spearmann", "nearest known name is Spearman"),
    option("model.errors", "[Spearman, {class_path: Sparsificaton}]", "nearest known name is Sparsification"),
    option("model.baselines", "[Foo]", "names Foo", "Predicted"),
    unknown(["--data.test_size"], "--data.test_size VALUE"),
    unknown(["--data.test_size", "--model.panels", "0"], "--data.test_size VALUE"),
    unknown(["--model"], "--model"),
    unknown(["--name"], "--name"),
    *(called(name) for name in NAMES),
    run("nothing to run", "test", names=("--model.encoder", "--data")),
    run("an unknown subcommand", "tset", "-c", "RECIPE", names=("tset", "test")),
    run("no subcommand", "-c", "RECIPE", names=("-c",)),
    run("a subcommand beside fit", "scroe", names=("scroe", "score")),
    run("an option before the subcommand", "-c", "rooms", "test", names=("-c", "must follow a subcommand")),
    run("an argument of recipes", "recipes", "foo", names=("recipes", "foo")),
    run("a value before --help", "score", "--vector", "foo", "--help", names=("--vector", "foo")),
    run("a word as a count before --help", "benchmark", "--images", "x", "--help", names=("--images", "x")),
    run("a word as a step before --help", "video", "--every", "x", "--help", names=("--every", "x")),
    run("-c without a file", "test", "-c", names=("--config",)),
    run("a seed below 0", "test", "-c", "RECIPE", "--seed_everything=-1", names=("seed_everything", "-1")),
    run("a seed beyond 32 bits", "test", "-c", "RECIPE", f"--seed_everything={2**40}", names=("seed_everything",)),
    run("a name outside", "test", "-c", "RECIPE", "--name=../x", names=("name", "../x")),
    run("a class among plain values", "test", "-c", "RECIPE", "--trainer.logger",
        json.dumps({"class_path": "WandbLogger", "dict_kwargs": {"config": {"class_path": "os.system"}}}),
        names=("config", "os.system")),
    run("trust in no module", "test", "-c", "RECIPE", "--trust", names=("--trust",)),
    *(
        Case("trust", name, lambda folder, name=name: take_trust(["test", "--trust", name])
             and command("test", "-c", recipe(folder), "--trust", name), ("--trust", name))
        for name in ("a b", "*", "mine.py/x", "jsonargparse", "-")
    ),
]  # fmt: skip
