"""How many operations does an image dispatch, and how often does the host wait for an accelerator?"""

from copy import deepcopy

import torch

from depthclip.benchmark.counting import Counts, count
from depthclip.benchmark.replay import without_tower
from depthclip.benchmark.tables import Table, Value
from depthclip.benchmark.workload import Workload
from depthclip.module import DepthCLIP

HEADS = (1, 50)


def counts(work: Workload) -> Table:
    """Return the operations and synchronizations of an image in a test step and in its scoring, for 1 and 50 heads."""
    rows: dict[str, dict[str, Value]] = {}
    whole = work.model.head
    for heads in HEADS:
        copies = {f"copy {k}": deepcopy(whole) for k in range(1, heads)}
        model = work.ready(without_tower(work.model, whole, copies))
        step, estimates = step_counts(work, model)
        tower = tower_counts(work)
        scoring = step.minus(estimates)
        suffix = f", {heads} head{'s' * (heads > 1)}"
        rows |= {
            f"scoring{suffix}": counts_row(scoring, work),
            f"test step{suffix}": counts_row(add(step, tower), work),
        }
    title = f"dispatched on {work.runtime.device.type}, an image of a batch of {work.amount.batch_size}"
    return Table("counts", title, ("operations", "synchronizations"), rows)


def step_counts(work: Workload, model: DepthCLIP) -> tuple[Counts, Counts]:
    """Return the counts of `test_step` and of its estimates, for the first batch, with stored features."""
    batch = work.batches[0]
    with torch.inference_mode(), work.runtime.context():
        step = count(lambda: model.test_step(batch, 0))
        estimates = count(lambda: [depth.stack() for _, depth in model.estimates(batch)])
    return step, estimates


def tower_counts(work: Workload) -> Counts:
    """Return the counts of the tower and the readout for the first batch."""
    images = work.encoder_inputs()[0]
    with torch.inference_mode(), work.runtime.context():
        return count(lambda: work.model.encoder.encode_image(images, work.model.needs))


def add(first: Counts, second: Counts) -> Counts:
    """Return the sum of two counts."""
    return Counts(first.operations + second.operations, first.synchronizations + second.synchronizations)


def counts_row(counts: Counts, work: Workload) -> dict[str, Value]:
    """Return the counts of an image."""
    images = len(work.batches[0].items)
    return {"operations": counts.operations / images, "synchronizations": counts.synchronizations / images}
