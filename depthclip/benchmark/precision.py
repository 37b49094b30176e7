"""Measure the speed and the figures of each precision."""

from dataclasses import replace
from functools import partial

import torch

from depthclip.benchmark.loop import test_loop
from depthclip.benchmark.speed import estimate_all
from depthclip.benchmark.tables import Table, Value
from depthclip.benchmark.workload import Workload, without_warnings
from depthclip.data import DepthDataModule, Rooms
from depthclip.rows import HEAD

IMAGES = 50  # of the recipe's data
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def precisions_of(device: torch.device) -> tuple[str, ...]:
    """Return the precisions of a device: 16-mixed needs an accelerator."""
    return PRECISIONS[:2] if device.type == "cpu" else PRECISIONS


def precision(work: Workload) -> Table:
    """Return the speed of the model without data in each precision, and the error of the test images."""
    variants = {
        name: replace(work, runtime=replace(work.runtime, precision=name))
        for name in precisions_of(work.runtime.device)
    }
    timings = work.measure([each.case(name, partial(estimate_all, each)) for name, each in variants.items()])
    errors = {name: abs_rel(each) for name, each in variants.items()}
    first = PRECISIONS[0]
    rows: dict[str, dict[str, Value]] = {
        name: {
            "images/s": timing.rate,
            "times 32-true": timing.ratio(timings[first]),
            "abs_rel": f"{errors[name]:.5f}",
            "change": f"{errors[name] - errors[first]:+.5f}",
        }
        for name, timing in timings.items()
    }
    title = f"the model without data, and abs_rel of {images_of(work)} images of {type(figures_data(work)).__name__}"
    return Table("precision", title, ("images/s", "times 32-true", "abs_rel", "change"), rows)


def figures_data(work: Workload) -> DepthDataModule:
    """Return the data module of the figures: the rooms of the recipe, or the files that are measured."""
    return work.given if isinstance(work.given, Rooms) else work.data


def images_of(work: Workload) -> int:
    """Return the number of images of the figures."""
    data = figures_data(work)
    return min(IMAGES if data is work.given else work.images, len(data.sets["test"]))


def abs_rel(work: Workload) -> float:
    """Return the mean abs_rel of the head in the precision of the workload."""
    with without_warnings():
        test_loop(work.model, figures_data(work), work.runtime, -(-images_of(work) // work.amount.batch_size))
    return work.model.outcome.result.figures()[HEAD]["abs_rel"]
