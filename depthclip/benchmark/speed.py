"""How fast are the tower alone, the model without data, and the whole test?"""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from depthclip.benchmark.released import evaluate_as_released
from depthclip.benchmark.tables import Table
from depthclip.benchmark.timing import Case, Timing
from depthclip.benchmark.workload import Workload, without_warnings
from depthclip.encoder.encoder import Encoder
from depthclip.encoder.tower_encoder import TowerEncoder

FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
TOWER, MODEL, TEST, RELEASED = "tower and readout", "model without data", "test from files", "as the released script"
EXACT = 1e-3  # largest relative difference of features that is due to rounding


def speed(work: Workload) -> Table:
    """Return the images of a second of the tower alone, of the model, of the whole test, and of the released script."""
    cases, differences = tower_cases(work)
    cases += [
        work.case(MODEL, lambda: estimate_all(work)),
        work.loop_case(TEST),
        work.case(RELEASED, lambda: released(work)),
    ]
    if work.loading.num_workers:
        cases.insert(-1, work.loop_case(f"{TEST}, {work.loading.num_workers} workers", work.loading))
    timings = work.measure(cases)
    fastest = fastest_tower(timings, differences)
    rows = {
        name: {
            "images/s": timing.rate,
            "ms/image": timing.per_image.median * 1000,
            "times the fastest tower": timing.ratio(timings[fastest]),
            "difference of features": differences.get(name),
        }
        for name, timing in timings.items()
    }
    return Table("speed", f"{workload_title(work)}; median [quartiles]", list(next(iter(rows.values()))), rows)


def workload_title(work: Workload) -> str:
    """Return the images and the number of heads in words."""
    views = "both views" if work.batches[0].view.mirror else "one view"
    heads = len(work.model.names)
    return (
        f"{work.images} images of {work.seen[0]} x {work.seen[1]} in batches of {work.amount.batch_size}, {views}, "
        f"{heads} head{'s' * (heads > 1)}, {work.runtime.precision}, {work.runtime.device.type}"
    )


def tower_cases(work: Workload) -> tuple[list[Case], dict[str, float]]:
    """Return a case of the tower and readout for each memory format, and the difference of its features by name.

    The difference is the largest one to the features in the contiguous format, relative to the largest feature.
    """
    cases, differences, expected = [], {}, None
    original = work.model.encoder  # whose text encoder is shared, since its tokenizer is slow to copy
    for kind, memory_format in FORMATS.items():
        encoder = deepcopy(original, {id(original.text): original.text}).to(memory_format=memory_format)
        if isinstance(encoder, TowerEncoder):
            encoder.tower.channels_last = memory_format == torch.channels_last
        inputs = [images.contiguous(memory_format=memory_format) for images in work.encoder_inputs()]
        case = work.case(f"{TOWER}, {kind}", partial(encode_all, work, encoder, inputs))
        with torch.inference_mode(), work.runtime.context():
            features = encoder.encode_image(inputs[0], work.model.needs).dense.float()
        expected = features if expected is None else expected
        differences[case.name] = float((features - expected).abs().max() / expected.abs().max())
        cases.append(case)
    return cases, differences


def fastest_tower(timings: dict[str, Timing], differences: dict[str, float]) -> str:
    """Return the name of the fastest tower among those whose features differ by at most 0.1 %."""
    exact = [name for name, difference in differences.items() if difference <= EXACT]
    return min(exact, key=lambda name: timings[name].per_image.median)


def encode_all(work: Workload, encoder: Encoder, inputs: list[Tensor]) -> None:
    """Encode the images of all batches."""
    for images in inputs:
        encoder.encode_image(images, work.model.needs)


def estimate_all(work: Workload) -> None:
    """Estimate the depth of all batches in memory, at the size that the model saw."""
    for batch in work.batches:
        for _, depth in work.model.estimates(batch):
            depth.stack()


def released(work: Workload) -> None:
    """Evaluate all images from files as the released script does, one by one."""
    with without_warnings(), work.reading(replace(work.data.loading, batch_size=1)):
        for batch in islice(work.data.test_dataloader(), work.images):
            evaluate_as_released(work.model, batch.to(work.runtime.device))
