"""End a run on SIGTERM or SIGINT with a message and the exit code that a shell expects."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
