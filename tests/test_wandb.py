"""Weights & Biases, offline, through the files that wandb itself writes."""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
import yaml
from wandb.proto.wandb_internal_pb2 import Record

from depthclip.__main__ import main

ROOT = Path(__file__).parent.parent
BLOCK, HEAD = 32768, 7


@pytest.fixture(autouse=True)
def root(monkeypatch):
    """No account, no network, and an environment that is as before afterwards: WandbLogger changes it."""
    monkeypatch.chdir(ROOT)
    before = dict(os.environ)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    yield
    os.environ.clear()
    os.environ.update(before)
    assert wandb.run is None


def records(path):
    """The records of a .wandb file: LevelDB's log format after seven bytes, protobuf inside."""
    content, at, whole = path.read_bytes(), HEAD, b""
    while at + HEAD <= len(content):
        if BLOCK - at % BLOCK < HEAD:
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        whole += content[at + HEAD : at + HEAD + length]
        at += HEAD + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def read_run(folder):
    """Group, name, config and summary of an offline run."""
    run, config, summary = None, {}, {}
    (path,) = folder.glob("run-*.wandb")
    # wandb writes in a process of its own, which may lag behind on a busy machine
    patience = time.monotonic() + 30
    while not any(record.HasField("exit") for record in records(path)) and time.monotonic() < patience:
        time.sleep(0.2)
    for record in records(path):
        if record.HasField("run"):
            run = record.run
        changes = [run.config] if record.HasField("run") else [record.config] if record.HasField("config") else []
        config.update({item.key: json.loads(item.value_json) for change in changes for item in change.update})
        if record.HasField("summary"):
            for item in record.summary.update:
                value, key = json.loads(item.value_json), item.key or "/".join(item.nested_key)
                summary.update({f"{key}/{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value})
    return SimpleNamespace(group=run.run_group, name=run.display_name, id=run.run_id, config=config, summary=summary)


@pytest.fixture
def small(tmp_path):
    """A recipe of a minute fraction: two rooms, the bundled CLIP, and runs in a folder of the test."""
    tracked = yaml.safe_load((ROOT / "configs/trainer/wandb.yaml").read_text())
    tracked["trainer"]["logger"]["init_args"]["save_dir"] = str(tmp_path)
    tracked["trainer"]["accelerator"] = "cpu"
    tracked["data"] = {"init_args": {"train_size": 2, "val_size": 2, "test_size": 2}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(tracked))
    return ["-c", str(tmp_path / "more.yaml")]


def test_test_and_fit_are_tracked_by_a_recipe(tmp_path, small):
    assert main(["test", "-c", "configs/rooms.yaml", *small, "--model.head.temperature", "0.7"]) == 0
    assert main(["fit", "-c", "configs/learn/rooms.yaml", *small, "--trainer.max_epochs", "1"]) == 0
    tested, fitted = (read_run(folder) for folder in sorted((tmp_path / "wandb").glob("offline-run-*")))
    assert tested.id != fitted.id
    assert tested.config["model"]["head"]["init_args"]["temperature"] == 0.7
    metrics = json.loads((tmp_path / "depthclip" / tested.id / "metrics.json").read_text())
    assert tested.summary["abs_rel"] == pytest.approx(metrics["figures"]["head"]["abs_rel"])
    assert tested.summary["figures/_type"] == "table-file"
    assert tested.summary["panel/_type"] == "images/separated"
    assert fitted.config["model"]["cache"] == "memory"
    assert "train/loss" in fitted.summary
    # recipe, figures and checkpoints are in the folder of each run, and nothing in the folder of all runs
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
        f"--{key}={own['values'][0] if 'values' in own else own['min']}" for key, own in settings["parameters"].items()
    ]
    place = settings["command"].index("depthclip")
    with pytest.raises(SystemExit) as end:
        main([*settings["command"][place + 1 : -1], *chosen, "--print_config"])
    assert not end.value.code
    assert yaml.safe_load(capsys.readouterr().out)["trainer"]["logger"]["init_args"]["mode"] == "online"
