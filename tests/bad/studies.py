"""Bad command lines of studies, and broken runs and studies for `compare`."""

import json
from pathlib import Path

import numpy as np

from depthclip.evaluation.bootstrap import Scored
from depthclip.evaluation.metrics import ERRORS
from depthclip.study import Study, Variant
from depthclip.study.collect import make_rows
from depthclip.study.command import parse, parse_settings
from depthclip.study.compare import report_comparison
from depthclip.study.plan import plan_passes, resolve_recipe
from tests.bad.judge import Case
from tests.fake_runs import errors_like, write_run

ROOMS = str(Path(__file__).parents[2] / "configs" / "rooms.yaml")
STUDY = Study("mine", "Why?", lambda options, head: [])


def setting(*entries, names=()):
    return Case("study --set", repr(entries), lambda folder: parse_settings(entries) and None, ("--set", *names))


def option(*args, names=()):
    return Case("study options", " ".join(args), lambda folder: parse(STUDY, args) and None, names)


def resolved(*args, names=()):
    return Case(
        "study settings", " ".join(args), lambda folder: resolve_recipe(["-c", ROOMS, *args], False) and None, names
    )


def scored(images):
    return Scored(errors_like([0.1] * len(images)), tuple(images), ("",) * len(images), (9,) * len(images))


def twice(folder):
    plan_passes([Variant("a"), Variant("a")], lambda variant: ["-c", ROOMS], folder)


def seeds_on_other_images(folder):
    make_rows([("a", False, [scored("xy"), scored("xz")])], {})


def rows_of_one_name(folder):
    make_rows([("random", False, [scored("xy")]), ("random", True, [scored("xy")])], {})


def runs(folder):
    return [str(write_run(folder / name, {"head": [0.1, 0.2, level]})) for level, name in ((0.3, "a"), (0.4, "b"))]


def broken(name, change, *names, error="abs_rel"):
    """Compare two runs of which the second was changed."""

    def run(folder):
        given = runs(folder)
        given = change(folder / "b") or given
        report_comparison(given, error, folder / "out")

    return Case("compare", name, run, names)


def arrays(**changes):
    """Change the arrays of errors.npz; None removes one."""

    def change(folder):
        with np.load(folder / "errors.npz") as file:
            content = {**file, **changes}
        np.savez(folder / "errors.npz", **{key: value for key, value in content.items() if value is not None})

    return change


def cut(name, share):
    """Truncate a file."""

    def change(folder):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(share * len(whole))])

    return change


def metrics(**changes):
    """Change metrics.json; None removes a key."""

    def change(folder):
        content = json.loads((folder / "metrics.json").read_text()) | changes
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / "metrics.json").write_text(json.dumps(kept))

    return change


def text(name, content):
    """Replace a file."""
    return lambda folder: (folder / name).write_text(content) and None


def removed(name):
    """Remove a file."""
    return lambda folder: (folder / name).unlink()


def study(results):
    """Make the folder a study whose results.json has some content, or none of the rows of its errors."""

    def change(folder):
        (folder / "results.json").write_text(json.dumps(results))

    return change


DESCRIBED = {"rows": {"head": {"baseline": False, "published": {}}}, "oracle": {}, "published": {}}

CASES = [
    setting("nokey", names=["nokey"]),
    setting("=1", names=["=1"]),
    setting(""),
    setting("model.head temperature=1", names=["model.head temperature=1"]),
    setting("help=1", names=["help"]),
    setting("config=x.yaml", names=["config"]),
    setting("print_config=1", names=["print_config"]),
    setting("name=mine", names=["name=mine"]),
    setting("--model.mirror=true", names=["--model.mirror=true"]),
    setting("model..mirror=true", names=["model..mirror"]),
    setting("modelmirror=true", names=["modelmirror"]),
    setting("trainer.logger=false", names=["trainer.logger", "--wandb"]),
    setting("trainer.devices=2", names=["trainer.devices", "--devices"]),
    setting("model.mirror=true", "model.mirror=false", names=["model.mirror", "twice"]),
    *(option("--devices", value, names=("--devices", value)) for value in ("0", "-2", "two", "1.5", "1,", "[0]")),
    option("--devices", "", names=("--devices",)),
    resolved("--model.head.sharpness=1", names=("sharpness",)),
    resolved("--model.head.temperature=warm", names=("temperature", "warm")),
    resolved("--model=none.yaml", names=("none.yaml",)),
    resolved("--data=none.yaml", names=("none.yaml",)),
    resolved("--trainer.epochs=3", names=("trainer.epochs",)),
    resolved("--model.head={", names=("model.head",)),
    Case("study", "two variants of one name", twice, ("a",)),
    Case("study", "seeds on other images", seeds_on_other_images, ("row a",)),
    Case("study", "a variant named like a baseline", rows_of_one_name, ("random",)),
    broken("no such folder", lambda folder: [str(folder), str(folder / "none")], "none"),
    broken("a file", lambda folder: [str(folder), str(folder / "metrics.json")], "metrics.json"),
    broken("an empty folder", lambda folder: (folder / "x").mkdir() or [str(folder), str(folder / "x")], "b/x"),
    broken("a folder of runs", lambda folder: [str(folder), str(folder.parent)], "neither", "such as"),
    broken("one run", lambda folder: [str(folder)], "b", "at least two"),
    broken("one run twice", lambda folder: [str(folder), str(folder)], "named"),
    broken("one name twice", lambda folder: [f"x={folder}", f"x={folder.parent / 'a'}"], "named x"),
    broken("unknown error", lambda folder: None, "--error", "rms", error="rms"),
    broken("output is a file", lambda folder: [None, (folder.parent / "out").write_text("")][0], "out"),
    broken("no metrics.json", removed("metrics.json"), "b", "metrics.json"),
    broken("no errors.npz", removed("errors.npz"), "b/errors.npz"),
    *(
        broken(f"metrics.json cut to {share:.0%}", cut("metrics.json", share), "b/metrics.json")
        for share in (0, 0.5, 0.99)
    ),
    *(broken(f"errors.npz cut to {share:.0%}", cut("errors.npz", share), "b/errors.npz") for share in (0, 0.3, 0.9)),
    broken("metrics.json is a list", text("metrics.json", "[1]"), "b/metrics.json"),
    broken(
        "metrics.json is not UTF-8",
        lambda folder: (folder / "metrics.json").write_bytes(b"\xff{}") and None,
        "b/metrics.json",
    ),
    broken("metrics.json nests too deep", text("metrics.json", "[" * 100_000), "b/metrics.json"),
    *(broken(f"no {key}", metrics(**{key: None}), "b/metrics.json", key) for key in ("figures", "baselines", "data")),
    broken("figures are a number", metrics(figures=3), "b/metrics.json", "figures"),
    broken("no figures", metrics(figures={}), "b/errors.npz", "head"),
    broken("figures of other rows", metrics(figures={"mine": {}}), "b/errors.npz", "mine"),
    broken("errors.npz is no archive", text("errors.npz", "abc"), "b/errors.npz"),
    broken("a row per array", arrays(errors=None, rows=None, head=np.zeros((3, 9))), "b/errors.npz", "rows"),
    broken("no scenes", arrays(scene=None), "b/errors.npz", "scene"),
    broken("an array too many", arrays(more=np.zeros(3)), "b/errors.npz", "more"),
    broken("errors of two axes", arrays(errors=np.zeros((1, 3))), "b/errors.npz", "(1, 3)"),
    broken("fewer images than errors", arrays(image=["x"]), "b/errors.npz", "(1,)"),
    broken("other errors", arrays(error=np.array([*ERRORS[:8], "mine"])), "b/errors.npz", ERRORS[8]),
    broken("errors are NaN", arrays(errors=np.full((1, 3, 9), np.nan)), "b/errors.npz", "finite"),
    broken("errors are infinite", arrays(errors=np.full((1, 3, 9), np.inf)), "b/errors.npz", "finite"),
    broken("no image counts", arrays(pixels=np.zeros(3, int)), "b/errors.npz", "at least one image"),
    broken("errors are texts", arrays(errors=np.full((1, 3, 9), "x")), "b/errors.npz", "finite"),
    broken("names are pickled", arrays(image=np.array([1, "b", None], object)), "b/errors.npz"),
    broken("results.json is empty", study({}), "b/results.json", "rows"),
    broken("results.json has no rows", study({"rows": {}, "oracle": {}, "published": {}}), "b/results.json"),
    broken("results.json has rows of a number", study({"rows": 3, "oracle": {}, "published": {}}), "b/results.json"),
    broken("results.json of an older version", study(DESCRIBED), "b/results.json", "data"),
]
