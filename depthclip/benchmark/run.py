"""Run the sections of a benchmark, and write their tables."""

import platform
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from depthclip.benchmark.command import SECTIONS
from depthclip.benchmark.counts import counts
from depthclip.benchmark.devices import devices
from depthclip.benchmark.growth import growth
from depthclip.benchmark.loop import Runtime
from depthclip.benchmark.peaks import memory
from depthclip.benchmark.picture import draw
from depthclip.benchmark.precision import precision
from depthclip.benchmark.recipe import model_and_data
from depthclip.benchmark.shares import shares
from depthclip.benchmark.speed import speed
from depthclip.benchmark.startup import startup
from depthclip.benchmark.tables import Table
from depthclip.benchmark.training import training
from depthclip.benchmark.workload import Amount, Workload, workload
from depthclip.cli import quiet_libraries
from depthclip.errors import InputError
from depthclip.report import versions, write_json
from depthclip.study.files import save_text
from depthclip.table import print_text, render


def run(options: Namespace, arguments: Sequence[str]) -> dict[str, Table]:
    """Measure a recipe, print the tables, and write results.json, results.md and benchmark.png.

    Args:
        options: options of the benchmark, as `depthclip.benchmark.command.parse` returns them.
        arguments: options of the model and the data.

    Raises:
        InputError: if an argument, a recipe or a file cannot be used.
    """
    quiet_libraries()
    runtime = Runtime(measured_device(options.device), options.precision)
    if options.precision == "16-mixed" and runtime.device.type == "cpu":
        raise InputError("--precision '16-mixed' needs a CUDA device; use bf16-mixed on the CPU")
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads or threads)
    amount = Amount(options.images, options.batch_size, options.repeats, tuple(options.size), options.quick)
    model, data = model_and_data(arguments, [*vars(options)])
    tables: dict[str, Table] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = workload(model, data, Path(folder), runtime, amount)
        sections = sections_of(work, options, arguments, Path(folder))
        machine = machine_of(work)
        print_text(headline_of(machine))
        for name in options.sections:
            tables[name] = sections[name]()
            print_text(render(tables[name].for_screen()).rstrip())
            if tables[name].note:
                print_text(tables[name].note)
    torch.set_num_threads(threads)
    save(tables, {"machine": machine, "arguments": list(arguments), "versions": versions()}, options.output)
    return tables


def sections_of(
    work: Workload, options: Namespace, arguments: Sequence[str], folder: Path
) -> dict[str, Callable[[], Table]]:
    """Return the function of each section."""
    functions: tuple[Callable[[], Table], ...] = (
        lambda: speed(work),
        lambda: shares(work),
        lambda: counts(work),
        lambda: memory(work, arguments, folder),
        lambda: growth(work),
        lambda: precision(work),
        lambda: training(work, options.learned_words, options.context),
        lambda: devices(work),
        lambda: startup(work.amount.quick),
    )
    return dict(zip(SECTIONS, functions, strict=True))


def measured_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is CUDA if there is a device.

    Raises:
        InputError: if there is no CUDA device.
    """
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise InputError("--device 'cuda' was not found on this machine; use cpu or auto")
    return torch.device("cuda" if name != "cpu" and cuda else "cpu")


def machine_of(work: Workload) -> dict[str, Any]:
    """Return a description of the machine and of what is measured."""
    device = work.runtime.device
    return {
        "encoder": work.model.encoder.name,
        "data": type(work.data).__name__,
        "written": work.data is not work.given,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "precision": work.runtime.precision,
        "system": platform.platform(),
    }


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def headline_of(machine: dict[str, Any]) -> str:
    """Return a line about the model, its images and the machine."""
    images = "rooms written to disk" if machine["written"] else f"files of {machine['data']}"
    where = f"{machine['device']}, {machine['threads']} threads, torch {torch.__version__}"
    return f"{machine['encoder']} on {images}; {where}"


def save(tables: dict[str, Table], about: dict[str, Any], output: Path) -> None:
    """Write results.json, results.md and benchmark.png, and print their paths.

    Raises:
        InputError: if a file cannot be written.
    """
    files = [output / name for name in ("results.json", "results.md", "benchmark.png")]
    title = headline_of(about["machine"])
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_json(files[0], {**about, "sections": {name: table.plain() for name, table in tables.items()}})
    except OSError as error:
        raise InputError(f"--output {output} cannot be written ({error.strerror}); choose another folder") from error
    save_text(files[1], "\n\n".join([title, *(table.markdown() for table in tables.values())]) + "\n")
    draw(tables, title, files[2])
    print_text("written:")
    for path in files:
        if path.exists():
            print_text(f"  {path}")
