"""SIGTERM and SIGINT end a run at once, with a sentence and the exit code that a shell expects."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Ended(BaseException):
    """The process was asked to end.

    Not an `Exception`, so that no handler on the way takes it for a failure; files that are being written are removed.
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

    Lightning calls a handler that it finds after its own, which ends the processes of other devices. A job of SLURM is
    left to Lightning, which may save it and queue it again.
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
