"""Run the passes of a study, each in a separate process; finished passes are kept if the study is interrupted."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from depthclip.errors import InputError
from depthclip.signals import Ended
from depthclip.study.files import read_run, save_json
from depthclip.study.plan import FINISHED, Pass

PATIENCE = 10.0  # seconds between SIGTERM and SIGKILL


def run_pass(image_pass: Pass, devices: str | None, report: Callable[[str], None]) -> str | None:
    """Run a pass and mark it as finished; return the reason if it failed.

    Args:
        image_pass: pass to run.
        devices: value of `--trainer.devices`; None leaves it to the recipe.
        report: function that is called with each line that the run prints, such as states of its progress bar.
    """
    shutil.rmtree(image_pass.folder, ignore_errors=True)
    began = time.monotonic()
    code, last = run_logged(image_pass, devices, report)
    if (reason := failure(image_pass, code, last)) is not None:
        return reason
    names = {image_pass.row_of(variant): variant.name for variant in image_pass.variants}
    save_json(image_pass.folder / FINISHED, {"variants": names, "seconds": round(time.monotonic() - began, 1)})
    return None


def run_logged(image_pass: Pass, devices: str | None, report: Callable[[str], None]) -> tuple[int, str]:
    """Run the command of a pass, write its output to log.txt, and return its exit code and last line.

    Raises:
        InputError: if the log cannot be written.
    """
    path, last = image_pass.folder / "log.txt", ""
    try:
        image_pass.folder.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as log, start_run(image_pass.command(devices)) as process:
            try:
                assert process.stdout is not None
                for line in process.stdout:  # universal newlines: each state of a progress bar is a line
                    log.write(line)
                    if line.strip():
                        last = line.strip()
                        report(last)
            except BaseException:
                end_run(process)
                raise
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); free space, or choose another folder with --out"
        ) from error
    return process.returncode, last


def start_run(command: Sequence[str]) -> subprocess.Popen[str]:
    """Start a run in a new process group, which contains the processes of all devices."""
    return subprocess.Popen(
        [sys.executable, *command[1:]],
        # a run that writes into a pipe ends soon if this process is killed
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        bufsize=1,
        start_new_session=True,
    )


def end_run(process: subprocess.Popen[str]) -> None:
    """End all processes of a run: send SIGTERM, then SIGKILL after `PATIENCE` seconds or a second signal."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(PATIENCE)
        except ProcessLookupError:
            return
        except (subprocess.TimeoutExpired, Ended):  # no end in time, or a second signal from the user
            continue
        else:
            return


def failure(image_pass: Pass, code: int, last: str) -> str | None:
    """Return the reason why a pass failed, or None if its results are complete.

    Args:
        image_pass: pass whose command has ended.
        code: exit code of the command.
        last: last line of its output.
    """
    log = image_pass.folder / "log.txt"
    if code < 0 or code == 128 + signal.SIGTERM:
        number = -code if code < 0 else signal.SIGTERM
        return f"the run was ended by {signal.Signals(number).name} ({log}); use --resume to repeat it"
    if code:
        return f"{last or 'the run printed nothing'} (exit code {code}; {log})"
    try:
        read_run(image_pass.folder)
    except InputError as error:
        return f"the run ended early, as after SIGTERM: {error} ({log}); use --resume to repeat it"
    return None


def run_passes(passes: Sequence[Pass], devices: str | None, resume: bool, console: Console) -> dict[str, str]:
    """Run passes one after the other; return the reasons of the variants that failed, by variant.

    Args:
        passes: passes to run.
        devices: value of `--trainer.devices`; None leaves it to the recipe.
        resume: keep passes that have finished.
        console: console that shows the progress.
    """
    waiting = [image_pass for image_pass in passes if not (resume and image_pass.finished)]
    kept = len(passes) - len(waiting)
    if kept:
        console.print(f"{kept} of {len(passes)} image passes finished before and are kept")
    failed: dict[str, str] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}", style="dim"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("image passes", total=len(passes), completed=kept, last="")
        for image_pass in waiting:
            label = escape(image_pass.label)
            progress.update(task, description=label)
            began = time.monotonic()
            reason = run_pass(image_pass, devices, lambda line: progress.update(task, last=escape(line[-60:])))
            took = f"{time.monotonic() - began:.0f} s"
            outcome = f"[red]failed[/red]: {escape(reason)}" if reason else took
            progress.console.print(f"{label}: {outcome}", soft_wrap=True)
            failed.update(dict.fromkeys((variant.name for variant in image_pass.variants), reason) if reason else {})
            progress.update(task, advance=1, description="image passes", last="")
    return failed
