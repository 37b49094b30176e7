"""Kill and SIGTERM at random moments: every file can be read, and nothing that had finished is computed again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
TIMES = int(os.environ.get("DEPTHCLIP_KILLS", "2"))  # of each signal
PHOTOS = 40
SIGNALS = [signal.SIGKILL, signal.SIGTERM] * TIMES


@pytest.fixture
def place(tmp_path):
    """Small photographs, and settings of runs that write into `run`."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for k in range(PHOTOS):
        Image.fromarray(rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)).save(tmp_path / f"in/{k:02d}.png")
    logger = {
        "class_path": "pytorch_lightning.loggers.CSVLogger",
        "init_args": {"save_dir": str(tmp_path), "name": "run", "version": ""},
    }
    trainer = {"logger": logger, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    return tmp_path


def start(place, subcommand, *given):
    command = [sys.executable, "-W", "ignore", "-m", "depthclip", subcommand, "-c", str(ROOT / "configs/rooms.yaml")]
    return subprocess.Popen(
        [*command, "-c", str(place / "more.yaml"), *given],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process, which, seconds, begun):
    """Wait until a run has begun, and send it a signal after some seconds more."""
    patience = time.monotonic() + 120
    while not begun() and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.005)
    if not begun():
        process.kill()
        pytest.fail(process.communicate()[1])
    time.sleep(seconds)
    process.send_signal(which)
    return process.communicate(timeout=120)


def check_files(folder):
    """Read every file of a folder in full; partial files, by their name, are not results."""
    for path in folder.rglob("*"):
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".npz":
            with np.load(path) as file:
                assert {key: file[key].shape for key in file.files}["errors"][2] == 9


def maps(out):
    return {path.name: path.stat().st_mtime_ns for path in out.glob("in_*.png")}


def test_predict_goes_on_after_each_kill(place):
    out, moments = place / "out", random.Random(0)
    given = ["--data", "depthclip.data.Photos", "--data.images", '["in"]', "--output", str(out)]
    for which in SIGNALS:
        before = maps(out)
        end(start(place, "predict", *given), which, moments.uniform(0, 0.3), lambda: maps(out) != before)  # noqa: B023
        check_files(place)
        after = maps(out)
        pictures = {name for name in before if name.replace(".colour", "") in before}
        assert {name: after[name] for name in pictures} == {name: before[name] for name in pictures}
        if len(after) == 2 * PHOTOS:
            for path in out.iterdir():
                path.unlink()
    before = maps(out)
    printed, _ = start(place, "predict", *given).communicate(timeout=120)
    assert f"{PHOTOS} depth maps" in printed
    check_files(place)
    after = maps(out)
    assert len(after) == 2 * PHOTOS
    done = {name for name in before if name.replace(".colour", "") in before}
    assert {name: after[name] for name in done} == {name: before[name] for name in done}


def test_test_leaves_no_broken_file(place):
    moments, size = random.Random(1), {"test_size": 4, "train_size": 2, "view": {"size": [64, 96]}}
    given = ["--data", json.dumps({"class_path": "Rooms", "init_args": size})]
    folder = place / "run"
    heads = {str(k): {"prompts": {"words": "five"}, "bins": {"values": [1, 2, 3, 4, 6]}} for k in range(3)}
    given += ["--model.variants", json.dumps(heads)]
    for which in SIGNALS:
        for path in folder.rglob("*"):
            if path.is_file():
                path.unlink()
        begun = (folder / "metrics.json").exists
        # the files are written within a second or two after the first one
        end(start(place, "test", *given), which, moments.uniform(0, 1.5), begun)
        check_files(place)
