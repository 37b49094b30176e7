"""Weights & Biases, offline."""

import json

import pytest
import yaml

from depthclip.__main__ import main
from tests.tracked import ROOT, tracked_runs


@pytest.fixture(autouse=True)
def runs(monkeypatch):
    """The runs that finished, in order."""
    with tracked_runs(monkeypatch) as runs:
        yield runs


@pytest.fixture
def small(tmp_path):
    """A recipe that tests two rooms and writes its runs to the folder of the test."""
    tracked = yaml.safe_load((ROOT / "configs/trainer/wandb.yaml").read_text())
    tracked["trainer"]["logger"]["init_args"]["save_dir"] = str(tmp_path)
    tracked["trainer"]["accelerator"] = "cpu"
    tracked["data"] = {"init_args": {"train_size": 2, "val_size": 2, "test_size": 2}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(tracked))
    return ["-c", str(tmp_path / "more.yaml")]


def test_test_and_fit_are_tracked_by_a_recipe(tmp_path, small, runs):
    assert main(["test", "-c", "configs/rooms.yaml", *small, "--model.head.temperature", "0.7"]) == 0
    assert main(["fit", "-c", "configs/learn/rooms.yaml", *small, "--trainer.max_epochs", "1"]) == 0
    tested, fitted = runs
    assert tested.id != fitted.id
    assert tested.config["model"]["head"]["init_args"]["temperature"] == 0.7
    metrics = json.loads((tmp_path / "depthclip" / tested.id / "metrics.json").read_text())
    assert tested.summary["abs_rel"] == pytest.approx(metrics["figures"]["head"]["abs_rel"])
    assert tested.summary["figures/_type"] == "table-file"
    assert tested.summary["panel/_type"] == "images/separated"
    assert fitted.config["model"]["cache"] == "memory"
    assert "train/loss" in fitted.summary
    # recipe, figures and checkpoints are in the folder of each run, and not in the folder of all runs
    assert not (tmp_path / "config.yaml").exists()
    recipes = [
        yaml.safe_load((tmp_path / "depthclip" / run.id / "config.yaml").read_text()) for run in (tested, fitted)
    ]
    assert recipes[0]["model"]["head"]["init_args"]["temperature"] == 0.7
    assert recipes[1]["trainer"]["max_epochs"] == 1
    kept = (tmp_path / "depthclip" / fitted.id / "checkpoints").iterdir()
    assert {path.name for path in kept} == {"best.ckpt", "last.ckpt"}


def test_a_run_that_fails_is_ended_too(tmp_path, small):
    assert main(["test", "-c", "configs/rooms.yaml", *small, "--ckpt_path", str(tmp_path / "none.ckpt")]) != 0
    assert not list((tmp_path / "depthclip").glob("*"))


@pytest.mark.parametrize("sweep", sorted((ROOT / "configs/sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_sweeps_run_commands_that_are_accepted(sweep, capsys):
    settings = yaml.safe_load(sweep.read_text())
    chosen = [
        f"--{key}={values['values'][0] if 'values' in values else values['min']}"
        for key, values in settings["parameters"].items()
    ]
    place = settings["command"].index("depthclip")
    with pytest.raises(SystemExit) as end:
        main([*settings["command"][place + 1 : -1], *chosen, "--print_config"])
    assert not end.value.code
    assert yaml.safe_load(capsys.readouterr().out)["trainer"]["logger"]["init_args"]["mode"] == "online"
