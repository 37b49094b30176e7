"""Judge the response to bad input: exit code 2 and one sentence with the argument or file, its value and a hint."""

import re
import signal
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from depthclip.errors import InputError

WAY_OUT = re.compile(
    r"must|use |correct |choose|set |give|pass|fetch|check|install|complete|remove|export|known|nearest|expected|try |"
    r"convert"
)
SECONDS = 30


@dataclass(frozen=True)
class Case:
    """A bad input.

    Args:
        kind: group of the case, such as `argument Prompts` or `files nyu labelled`.
        name: the case within its group.
        run: hand the input to the package in an empty folder. It raises `InputError`, or returns what the command line
            printed to standard error after exit code 2; it returns None if the input was accepted.
        names: texts of which each must occur in the sentence: the argument or file, and its value.
        expect: `refused`, or `warning` where the input is usable but suspicious.
    """

    kind: str
    name: str
    run: Callable[[Path], str | None]
    names: tuple[str, ...] = ()
    expect: str = "refused"

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


@contextmanager
def no_hang():
    """Raise TimeoutError in a block that does not end."""

    def stop(_signal, _frame):
        raise TimeoutError(f"no answer after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def verdict(case: Case, folder: Path) -> str:
    """Return "" if the input was met well, else what was wrong with the answer."""
    with warnings.catch_warnings(record=True) as caught, no_hang():
        warnings.simplefilter("always")
        try:
            answer = case.run(folder)
        except InputError as error:
            answer = str(error)
        except Exception as error:  # the verdict, not the test, tells what kind of crash it was
            return f"crash: {type(error).__name__}: {error}"
    if case.expect == "warning":
        answer = " ".join(str(one.message) for one in caught)
    if not answer:
        return f"silent: accepted without a {'warning' if case.expect == 'warning' else 'sentence'}"
    sentence = answer.strip().splitlines()[-1].removeprefix("error: ")
    if case.expect == "refused" and ("Traceback" in answer or len(answer.strip().splitlines()) > 1):
        return f"more than one sentence: {answer}"
    if missing := [name for name in case.names if name not in sentence]:
        return f"unclear: {missing} not named in: {sentence}"
    if not WAY_OUT.search(sentence):
        return f"no way out in: {sentence}"
    return ""
