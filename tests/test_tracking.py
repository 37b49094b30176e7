"""Studies on Weights & Biases: the offline runs, read through the public interface of wandb."""

import numpy as np
import pytest
import wandb
from PIL import Image
from rich.console import Console

from depthclip.errors import InputError
from depthclip.evaluation.metrics import ERRORS
from depthclip.study.command import parse
from depthclip.study.plan import Pass, Variant
from depthclip.study.study import arguments_of
from depthclip.study.tracking import track_study
from experiments import prompt_learning, temperature
from tests.fake_runs import write_run
from tests.tracked import tracked_runs


@pytest.fixture(autouse=True)
def runs(monkeypatch):
    """The runs that finished, in order."""
    with tracked_runs(monkeypatch) as runs:
        yield runs


def finished(folder, names):
    """Return a finished pass with its files."""
    rows = {name: [0.1 * k + 0.1] * 2 for k, name in enumerate(["head", *names[1:]])}
    write_run(folder, rows, {"random": [2.0, 2.0]})
    (folder / "metrics.csv").write_text("epoch,step,train/loss\n0,1,0.5\n0,2,\n1,3,0.25\n")
    (folder / "variants").mkdir()
    for picture in ("panel.png", "variants/001.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / picture)
    variants = tuple(Variant(name, {"model.head.temperature": k}) for k, name in enumerate(names))
    heads = {name: {"temperature": k} for k, name in enumerate(names)}
    model = {"head": heads[names[0]], "variants": {name: heads[name] for name in names[1:]}}
    return Pass(variants, {"model": model}, folder, False)


def test_each_variant_is_a_run_and_each_study_a_group(tmp_path, runs, capsys):
    console = Console(width=400)
    first = track_study("one", [finished(tmp_path / "one/runs/a", ["x", "y"])], tmp_path / "one", "offline", console)
    track_study("two", [finished(tmp_path / "two/runs/b", ["z"])], tmp_path / "two", "offline", console)
    assert [(run.group, run.name) for run in runs] == [("one", "x"), ("one", "y"), ("two", "z")]
    assert len({run.id for run in runs}) == 3
    assert [run.config["model"]["head"]["temperature"] for run in runs] == [0, 1, 0]
    assert [run.config["variant"] for run in runs] == [{"model.head.temperature": str(k)} for k in (0, 1, 0)]
    assert [run.summary["abs_rel"] for run in runs] == pytest.approx([0.1, 0.2, 0.1])
    assert all(set(ERRORS) <= set(run.summary) for run in runs)
    assert [run.summary["figures/_type"] for run in runs] == ["table-file"] * 3
    assert [run.summary["panel/_type"] for run in runs] == ["image-file"] * 3
    assert [run.summary["train/loss"] for run in runs] == [0.25] * 3
    assert all(folder.is_dir() for folder in first)
    assert f"wandb sync {first[0]} {first[1]}" in capsys.readouterr().out


class FakeRun:
    """A run that records the logged values."""

    def __init__(self, folder):
        self.dir = str(folder / "files")
        self.logged, self.summary = [], {}

    def log(self, values):
        """Record values."""
        self.logged.append(values)

    def finish(self):
        """Record the end."""
        self.logged.append("finished")


def test_losses_table_and_picture_are_logged_in_this_order(tmp_path, monkeypatch):
    run = FakeRun(tmp_path)
    monkeypatch.setattr(wandb, "init", lambda **settings: run)
    track_study("one", [finished(tmp_path / "a", ["x"])], tmp_path, "offline", Console())
    losses, (table, panel, end) = run.logged[:2], run.logged[2:]
    assert losses == [{"train/loss": 0.5}, {"train/loss": 0.25}]
    assert table["figures"].columns == ["row", "alignment", *ERRORS]
    assert [row[0] for row in table["figures"].data] == ["head", "random"]
    assert table["figures"].data[1][1] == pytest.approx(2.0)
    assert isinstance(panel["panel"], wandb.Image)
    assert end == "finished"


def test_a_refusal_of_wandb_is_one_sentence(tmp_path, monkeypatch):
    def refuse(**settings):
        raise wandb.Error("no account")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(InputError, match="--wandb online: no account; use --wandb offline"):
        track_study("one", [finished(tmp_path / "a", ["x"])], tmp_path, "online", Console())


def test_flags_reach_the_study():
    options = parse(temperature.STUDY, ["--wandb", "--set", "model.mirror=false", "--devices", "2"])
    assert (options.wandb, options.devices) == ("offline", "2")
    words = arguments_of(temperature.STUDY, options, Variant("a", {"model.head.smoothing": 1.0}))
    assert "--model.mirror=false" in words
    assert "--model.head.smoothing=1.0" in words
    assert parse(prompt_learning.STUDY, []).wandb is None
