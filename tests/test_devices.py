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
from PIL import Image

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
        "data": {"init_args": {"test_size": images, "train_size": 2, "loading": {"batch_size": 2}, "view": view}},
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
    done = subprocess.run(two, check=True, capture_output=True, text=True, cwd=ROOT)
    assert "sync_dist" not in done.stderr + done.stdout
    same(tmp_path / "one", tmp_path / "two", images)
    # the panel has the images of both processes; rounding moves a colour by few steps
    pictures = [np.asarray(Image.open(tmp_path / k / "run" / "panel.png")).astype(int) for k in ("one", "two")]
    assert pictures[0].shape == pictures[1].shape
    assert (abs(pictures[0] - pictures[1]) > 8).mean() < 1e-3


def test_two_processes_calibrate_a_head_as_one_does(tmp_path):
    """The means of the words, and so the figures, do not depend on the number of processes."""
    head = {"head": {"init_args": {"calibrated": True}}, "training_images": 7}
    (tmp_path / "calibrated.yaml").write_text(yaml.safe_dump({"model": head, "data": {"init_args": {"train_size": 7}}}))
    calibrated = ["-c", str(tmp_path / "calibrated.yaml")]
    _python, _m, _depthclip, *given = command(tmp_path / "one", 5, *calibrated)
    assert main(given) == 0
    two = command(tmp_path / "two", 5, *calibrated, "--trainer.devices", "2")
    subprocess.run(two, check=True, capture_output=True, cwd=ROOT)
    same(tmp_path / "one", tmp_path / "two", 5)
    alone(tmp_path / "plain", 5)
    assert written(tmp_path / "plain")[0]["figures"] != written(tmp_path / "one")[0]["figures"]


def test_two_processes_calibrate_intervals_as_one_does(tmp_path):
    """Each process scores a part of the validation images, and the quantile is that of all of them."""
    changes = {"model": {"intervals": {"level": 0.8, "score": "spread"}}, "data": {"init_args": {"val_size": 7}}}
    (tmp_path / "intervals.yaml").write_text(yaml.safe_dump(changes))
    intervals = ["-c", str(tmp_path / "intervals.yaml")]
    _python, _m, _depthclip, *given = command(tmp_path / "one", 5, *intervals)
    assert main(given) == 0
    two = command(tmp_path / "two", 5, *intervals, "--trainer.devices", "2")
    subprocess.run(two, check=True, capture_output=True, cwd=ROOT)
    same(tmp_path / "one", tmp_path / "two", 5)
    assert written(tmp_path / "two")[0]["figures"]["head"]["width"] > 0


def photographs(folder, *, count, broken):
    """A run of predict in two processes on photographs of which one is truncated."""
    (folder / "in").mkdir()
    rng = np.random.default_rng(0)
    for k in range(count):
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)).save(folder / f"in/{k}.png")
    whole = (folder / f"in/{broken}.png").read_bytes()
    (folder / f"in/{broken}.png").write_bytes(whole[: len(whole) // 2])
    files = ["-c", str(ROOT / "configs/rooms.yaml"), "--data", "depthclip.data.Photos"]
    places = ["--data.images", json.dumps([str(folder / "in")]), "--output", str(folder / "out")]
    return [sys.executable, "-m", "depthclip", "predict", *files, *places, *TWO]


TWO = ["--trainer.accelerator", "cpu", "--trainer.devices", "2"]


def finish(given, folder):
    """Run a command in a folder."""
    path = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(given, capture_output=True, text=True, cwd=folder, env=path)


def test_predict_on_two_processes_loses_no_image_in_silence(tmp_path):
    given = photographs(tmp_path, count=6, broken=3)
    failed = finish([*given, "--data.loading.on_error", "raise"], tmp_path)
    assert failed.returncode not in (0, 3)
    assert "in/3.png cannot be read" in failed.stderr
    assert "Traceback" not in failed.stderr
    before = len([path for path in (tmp_path / "out").glob("*.png") if not path.stem.endswith(".colour")])
    done = finish(given, tmp_path)
    assert done.returncode == 3
    assert "5 depth maps" in done.stdout
    assert f"{before} {'was' if before == 1 else 'were'} there already; 1 image could not be read" in done.stdout
    assert len(json.loads((tmp_path / "out/index.json").read_text())["maps"]) == 5


def test_test_on_two_processes_ends_with_a_sentence_if_one_fails(tmp_path):
    photographs(tmp_path, count=6, broken=3)
    depth = Image.fromarray(np.full((64, 96), 2000, np.uint16))
    for k in range(6):
        depth.save(tmp_path / f"{k}.png")
    rows = "".join(f"in/{k}.png,{k}.png\n" for k in range(6))
    (tmp_path / "pairs.csv").write_text(f"image,depth\n{rows}")
    data = {"class_path": "Pairs", "init_args": {"root": str(tmp_path), "table": str(tmp_path / "pairs.csv")}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"data": data, "model": {"training_baselines": False}}))
    files = ["-c", str(ROOT / "configs/rooms.yaml"), "-c", str(tmp_path / "more.yaml")]
    failed = finish([sys.executable, "-m", "depthclip", "test", *files, *TWO], tmp_path)
    assert failed.returncode != 0
    assert "in/3.png cannot be read" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(tmp_path.glob("runs/*/*/metrics.json"))


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
