"""Any number of devices: the same figures, the same images, the same errors in the same order."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from depthclip.__main__ import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def command(folder, images, *more):
    """A test run on small rooms with the bundled CLIP, which writes into a folder."""
    logger = {
        "class_path": "pytorch_lightning.loggers.CSVLogger",
        "init_args": {"save_dir": str(folder), "name": "run", "version": ""},
    }
    folder.mkdir(exist_ok=True)
    view = {"size": [64, 96]}
    changes = {
        "data": {"init_args": {"test_size": images, "train_size": 2, "batch_size": 2, "view": view}},
        "trainer": {"logger": logger, "accelerator": "cpu", "devices": 1},
    }
    (folder / "more.yaml").write_text(yaml.safe_dump(changes))
    files = ["-c", str(ROOT / "configs/rooms.yaml"), "-c", str(folder / "more.yaml")]
    return [sys.executable, "-m", "depthclip", "test", *files, *more]


def alone(folder, images):
    """The run of one process: this one."""
    _python, _m, _depthclip, *given = command(folder, images)
    assert main(given) == 0


def written(folder):
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    with np.load(folder / "run" / "errors.npz") as errors:
        return metrics, dict(errors)


def same(one, other, images):
    (metrics, errors), (others, other_errors) = written(one), written(other)
    assert metrics["images"] == others["images"] == images
    for kind in ("figures", "baselines"):
        for row, figures in metrics[kind].items():
            assert others[kind][row] == pytest.approx(figures, rel=1e-6)
    assert errors["image"].tolist() == other_errors["image"].tolist()
    assert errors["rows"].tolist() == other_errors["rows"].tolist()
    np.testing.assert_allclose(errors["errors"], other_errors["errors"], rtol=1e-6)


@pytest.mark.parametrize("images", [5, 7, 200])
def test_two_processes_find_what_one_finds(tmp_path, images):
    alone(tmp_path / "one", images)
    two = command(tmp_path / "two", images, "--trainer.devices", "2")
    subprocess.run(two, check=True, capture_output=True, cwd=ROOT)
    same(tmp_path / "one", tmp_path / "two", images)


def test_two_machines_on_loopback_find_what_one_finds(tmp_path):
    alone(tmp_path / "one", 5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = command(tmp_path / "two", 5, "--trainer.num_nodes", "2", "--trainer.strategy", "ddp")
    machines = [
        subprocess.Popen(
            given,
            cwd=ROOT,
            env=os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    assert [machine.wait(timeout=300) for machine in machines] == [0, 0]
    same(tmp_path / "one", tmp_path / "two", 5)


def test_torchrun_finds_what_one_process_finds(tmp_path):
    alone(tmp_path / "one", 5)
    given = command(tmp_path / "two", 5, "-c", "configs/trainer/torchrun.yaml", "--trainer.devices", "2")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    subprocess.run([*launcher, *given[2:], "--trainer.accelerator", "cpu"], check=True, capture_output=True, cwd=ROOT)
    same(tmp_path / "one", tmp_path / "two", 5)
