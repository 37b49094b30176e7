"""Signals and closed output end a run of the command line with a sentence."""

import os
import signal
import subprocess
import sys
import time

import pytest

ROOMS = ["test", "-c", "rooms", "--trainer.accelerator=cpu", "--trainer.devices=1"]


def started(command, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "depthclip", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("subcommand", ["test", "fit"])
def test_a_signal_ends_a_run_with_a_sentence(tmp_path, number, code, subcommand):
    sizes = ["--data.test_size=5000", "--data.train_size=5000"]
    learn = ["--model.head.learn_temperature=true"] if subcommand == "fit" else []
    process = started([subcommand, *ROOMS[1:], *sizes, *learn], cwd=tmp_path, start_new_session=True)
    end = time.monotonic() + 120
    while not list(tmp_path.glob("runs/rooms/version_0")) and time.monotonic() < end:
        time.sleep(0.2)
    time.sleep(2)
    # a terminal and a batch system signal all processes of a run
    os.killpg(process.pid, number) if subcommand == "test" else process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert errors.splitlines()[-1] == f"error: ended by {number.name}; only finished results are kept"
    assert "Traceback" not in errors
    assert not list(tmp_path.rglob("metrics.json"))


@pytest.mark.slow
def test_output_that_nobody_reads_or_that_is_ascii(tmp_path):
    process = started([*ROOMS, "--data.test_size=1"], cwd=tmp_path)
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert list(tmp_path.rglob("metrics.json"))
    done = started([*ROOMS, "--data.test_size=1"], cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    output, errors = done.communicate()
    assert done.returncode == 0, errors
    assert "abs_rel" in output
    with open("/dev/full", "w") as full:  # a device on which every write fails
        command = [sys.executable, "-m", "depthclip", *ROOMS, "--data.test_size=1"]
        done = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "No space left on device; check that" in done.stderr
