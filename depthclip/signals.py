"""End a run on SIGTERM or SIGINT with a message and the exit code that a shell expects."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from depthclip.errors import InputError


class Ended(BaseException):
    """SIGTERM or SIGINT has arrived.

    This is no `Exception`, so that handlers of failures do not catch it. Files that are not complete are removed.

    Args:
        number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name
        self.exit_code = 128 + number


def end(number: int, frame: FrameType | None) -> None:
    """Raise `Ended`.

    Raises:
        Ended: always.
    """
    raise Ended(number)


@contextmanager
def ending() -> Iterator[None]:
    """Raise `Ended` within the block when SIGTERM or SIGINT arrives.

    Lightning calls an existing handler after its own handler, which ends the processes of other devices. In a SLURM job
    only Lightning's handler is active, because it can save and requeue the job.
    """
    if threading.current_thread() is not threading.main_thread() or "SLURM_JOB_ID" in os.environ:
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(work: Callable[[], int], resume: str) -> int:
    """Call a function that a signal may end; return its exit code, or 2, 130 or 143 after an error message.

    Args:
        work: function to call; it returns an exit code.
        resume: the way to continue, for the message after a signal.

    Returns:
        The exit code: 2 after an `InputError`, 130 after SIGINT, 143 after SIGTERM.
    """
    try:
        with ending():
            return work()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Ended as ended:
        print(f"error: ended by {ended.name}; {resume}", file=sys.stderr)
        return ended.exit_code
