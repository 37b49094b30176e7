"""Running the passes of a study, each in its own process; what finished is kept when the study is ended."""

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

PATIENCE = 10.0  # seconds that a run has to end after SIGTERM


def run_pass(one: Pass, devices: str | None, report: Callable[[str], None]) -> str | None:
    """Run a pass and mark it as finished; return the reason if it failed.

    Args:
        one: pass to run.
        devices: devices of the run, as `--trainer.devices`.
        report: called with each line that the run prints, such as the states of its progress bar.
    """
    shutil.rmtree(one.folder, ignore_errors=True)
    began = time.monotonic()
    code, last = run_logged(one, devices, report)
    if (reason := failure(one, code, last)) is not None:
        return reason
    names = {one.row_of(variant): variant.name for variant in one.variants}
    save_json(one.folder / FINISHED, {"variants": names, "seconds": round(time.monotonic() - began, 1)})
    return None


def run_logged(one: Pass, devices: str | None, report: Callable[[str], None]) -> tuple[int, str]:
    """Run the command of a pass with its output in log.txt; return its exit code and last line.

    Raises:
        InputError: if the log cannot be written.
    """
    path, last = one.folder / "log.txt", ""
    try:
        one.folder.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as log, start_run(one.command(devices)) as process:
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
    """Start a run in a process group of its own, which holds the processes of all devices."""
    return subprocess.Popen(
        [sys.executable, *command[1:]],
        # it writes into a pipe, so that it ends soon if this process is killed
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        bufsize=1,
        start_new_session=True,
    )


def end_run(process: subprocess.Popen[str]) -> None:
    """End a run with all of its processes: SIGTERM, then SIGKILL after `PATIENCE` or a second signal."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(PATIENCE)
        except ProcessLookupError:
            return
        except (subprocess.TimeoutExpired, Ended):  # it takes too long, or the user does not want to wait for it
            continue
        else:
            return


def failure(one: Pass, code: int, last: str) -> str | None:
    """Return why a pass that ended with an exit code failed, or None if its results are complete."""
    log = one.folder / "log.txt"
    if code < 0 or code == 128 + signal.SIGTERM:
        number = -code if code < 0 else signal.SIGTERM
        return f"the run was ended by {signal.Signals(number).name} ({log}); use --resume to repeat it"
    if code:
        return f"{last or 'the run printed nothing'} (exit code {code}; {log})"
    try:
        read_run(one.folder)
    except InputError as error:
        return f"the run ended early, as after SIGTERM: {error} ({log}); use --resume to repeat it"
    return None


def run_passes(passes: Sequence[Pass], devices: str | None, resume: bool, console: Console) -> dict[str, str]:
    """Run passes one by one; return the names of variants that failed, and why.

    Args:
        passes: passes to run.
        devices: devices of each run, as `--trainer.devices`.
        resume: keep passes that finished before.
        console: console that shows the progress.
    """
    waiting = [one for one in passes if not (resume and one.finished)]
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
        for one in waiting:
            label = escape(one.label)
            progress.update(task, description=label)
            began = time.monotonic()
            reason = run_pass(one, devices, lambda line: progress.update(task, last=escape(line[-60:])))
            took = f"{time.monotonic() - began:.0f} s"
            outcome = f"[red]failed[/red]: {escape(reason)}" if reason else took
            progress.console.print(f"{label}: {outcome}", soft_wrap=True)
            failed.update(dict.fromkeys((variant.name for variant in one.variants), reason) if reason else {})
            progress.update(task, advance=1, description="image passes", last="")
    return failed
