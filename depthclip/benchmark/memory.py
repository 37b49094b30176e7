"""The peak memory of a process, and of a piece of work in a process that runs nothing else."""

import multiprocessing
import re
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

Value = TypeVar("Value")
STATUS = Path("/proc/self/status")
MIB = 2**20


def peak_memory(device: torch.device) -> float:
    """Return the peak memory of this process so far in MiB: on CUDA, of the tensors on the device.

    On Linux the peak is VmHWM, because `ru_maxrss` of a process also covers the process that started it.

    Args:
        device: device of the work.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    if STATUS.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())):
        return int(found[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024  # bytes there, KiB elsewhere


def in_new_process(function: Callable[..., Value], *arguments: object) -> Value:
    """Return the value of a function that runs in a process of its own.

    Args:
        function: function of a module.
        arguments: values that can be pickled.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
