"""How long does the command line take before it shows something?"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import depthclip
from depthclip.benchmark.tables import Table
from depthclip.benchmark.timing import Case, measure

TEST = "test -c rooms: the table"


def startup(quick: bool, repeats: int = 2) -> Table:
    """Return the seconds of the start of Python with the package, measured in new processes.

    Args:
        quick: leave out the test of the bundled recipe.
        repeats: number of rounds that count.
    """
    cases = [
        Case("python -c pass", lambda: seconds_until("", "-c", "pass")),
        Case("import torch", lambda: seconds_until("", "-c", "import torch")),
        Case("import depthclip", lambda: seconds_until("", "-c", "import depthclip")),
        Case("--help", lambda: seconds_until("subcommands", "-m", "depthclip", "--help")),
    ]
    if not quick:
        cases.append(Case(TEST, lambda: seconds_until("abs_rel", "-m", "depthclip", "test", "-c", "rooms")))
    rows = {name: {"seconds": timing.per_image} for name, timing in measure(cases, repeats).items()}
    return Table("startup", "seconds from the start of a process to its first result", ("seconds",), rows)


def seconds_until(text: str, *arguments: str) -> float:
    """Return the seconds until Python prints a text, or until it ends if the text is empty.

    Args:
        text: text that a line of the output contains.
        arguments: arguments of Python.
    """
    path = str(Path(depthclip.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([path, os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            seconds = None
            for line in process.stdout or ():
                if text and text in line and seconds is None:
                    seconds = time.perf_counter() - start
        return time.perf_counter() - start if seconds is None else seconds
