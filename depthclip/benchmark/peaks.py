"""The peak memory of the tower alone, of the model without data, and of the whole test."""

from collections.abc import Sequence
from pathlib import Path

import torch

from depthclip.benchmark.loop import Runtime
from depthclip.benchmark.memory import in_new_process, peak_memory
from depthclip.benchmark.recipe import model_and_data
from depthclip.benchmark.speed import MODEL, TEST, TOWER, encode_all, estimate_all, workload_title
from depthclip.benchmark.tables import Table, Value
from depthclip.benchmark.workload import Amount, Workload, workload
from depthclip.cli import quiet_libraries

BUILT, IMAGES = "model without an image", "MiB for the images"


def memory(work: Workload, arguments: Sequence[str], folder: Path) -> Table:
    """Return the peak memory of each piece of work, in a process of its own.

    Args:
        work: the model and its images.
        arguments: the arguments from which `model_and_data` makes the model.
        folder: folder of the images that were written.
    """
    shared = (list(arguments), folder, work.runtime, work.amount, torch.get_num_threads())
    peaks = {name: in_new_process(peak_of, name, *shared) for name in (BUILT, TOWER, MODEL, TEST)}
    rows: dict[str, dict[str, Value]] = {
        name: {"peak MiB": peak, "times the tower": peak / peaks[TOWER], IMAGES: peak - peaks[BUILT]}
        for name, peak in peaks.items()
    }
    return Table("memory", workload_title(work), ("peak MiB", "times the tower", IMAGES), rows)


def peak_of(name: str, arguments: Sequence[str], folder: Path, runtime: Runtime, amount: Amount, threads: int) -> float:
    """Return the peak memory in MiB of this process after a piece of work.

    Args:
        name: the piece of work.
        arguments: the arguments from which `model_and_data` makes the model.
        folder: folder of the images that were written.
        runtime: device and precision.
        amount: how much is measured.
        threads: number of threads.
    """
    quiet_libraries()
    torch.set_num_threads(threads)
    model, data = model_and_data(arguments, ())
    if name != BUILT:
        work = workload(model, data, folder, runtime, amount, warm=False)
        if name == TEST:
            work.loop()
        else:
            inputs = work.encoder_inputs()
            run = {TOWER: lambda: encode_all(work, model.encoder, inputs), MODEL: lambda: estimate_all(work)}[name]
            work.case(name, run).run()
    return peak_memory(runtime.device)
