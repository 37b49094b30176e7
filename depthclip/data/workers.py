"""Choose how many worker processes read the images of a split."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import PicklingError

from depthclip.errors import InputError

FEW_IMAGES = 64  # are read before worker processes would have paid for their start
MOST_PER_GPU = 8  # of a device; more rarely decode faster than one GPU encodes


def automatic_workers(images: int, devices: int = 1, on_cpu: bool = True) -> int:
    """Return the number of worker processes for `num_workers: null`.

    The number is 0 for fewer than 64 images, on a single core, and where a new process cannot be forked, so that a
    script without `if __name__ == "__main__"` works. Beside a tower on the CPU, one process reads faster than the tower
    encodes; more would take cores from the tower. For a GPU, the cores are divided among the devices, up to 8 each.

    Args:
        images: number of images of the split.
        devices: number of devices of this machine, each of which has its own workers.
        on_cpu: whether the model runs on the CPU.
    """
    if images < FEW_IMAGES or start_method() != "fork":
        return 0
    spare = cores() // devices - 1
    return max(0, min(1 if on_cpu else MOST_PER_GPU, spare))


def start_method() -> str:
    """Return how processes are started, without fixing it, so that a script can still set it."""
    return multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def starting(workers: int) -> Iterator[None]:
    """Raise a pickling error in a block that starts worker processes as an InputError.

    Args:
        workers: number of processes; with 0, all errors pass.

    Raises:
        InputError: if the data set cannot be pickled, as a process that is spawned requires.
    """
    try:
        yield
    except (PicklingError, TypeError, AttributeError) as error:  # the types that pickle raises
        if workers == 0:
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the data set cannot be pickled for loading.num_workers {workers} ({reason}); set loading.num_workers: 0"
        ) from error


def leave_signals_to_main(worker: int) -> None:
    """Let the main process report the signals that a whole group of processes receives, such as Ctrl-C.

    A worker ignores SIGINT, since the main process ends it, and exits at SIGTERM without an error.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
