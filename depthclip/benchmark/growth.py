"""How does the cost of an image grow with words, variants, alignments, image side, batch, workers and devices?"""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from torch.nn import functional as F

from depthclip.benchmark.replay import without_tower
from depthclip.benchmark.shares import scaled
from depthclip.benchmark.speed import encode_all, workload_title
from depthclip.benchmark.tables import Table, Value
from depthclip.benchmark.timing import Case, Timing
from depthclip.benchmark.workload import Workload, without_warnings
from depthclip.encoder.encoder import SentenceEncoder
from depthclip.evaluation import Spearman
from depthclip.head import Bins, DepthHead, Prompts
from depthclip.module import DepthCLIP
from depthclip.protocol import ALIGNMENTS

WORDS, VARIANTS, SIDES, BATCHES, WORKERS, DEVICES = (
    (5, 50, 500),
    (1, 10, 50),
    (0.5, 1.0, 1.5),
    (1, 2, 8),
    (0, 1, 2),
    (1, 2),
)
TOWER = "tower"
NOTE = (
    "Each group is timed in turn, and its first row is 1. The rows of words, variants and alignments add the time of "
    "the tower, timed in the same rounds. The text features of words are random, because sentences are encoded once, "
    "before the first image. Workers and devices read all images. A device runs its share of them, and the row is the "
    "time of its run over all images."
)


def growth(work: Workload) -> Table:
    """Return the cost of an image by words, variants, alignments, image side, batch, workers and devices."""
    quick = work.amount.quick
    work = replace(work, amount=replace(work.amount, repeats=-(-work.amount.repeats // 2)))  # as there are many cases
    first = replace(work, batches=work.batches[:1])
    rows: dict[str, dict[str, Value]] = {}
    for group in (by_words(first), by_variants(first)):
        rows |= growth_rows(with_tower(first, group))
    rows |= growth_rows(first.measure(by_side(first, SIDES[:2] if quick else SIDES)))
    if not quick:
        rows |= growth_rows(first.measure(by_batch(first)))
        rows |= growth_rows(work.measure(by_workers(work)))
        rows |= growth_rows(work.measure(by_devices(work)))
    return Table("growth", workload_title(first), ("ms/image", "times the first"), rows, NOTE)


def growth_rows(timings: dict[str, Timing]) -> dict[str, dict[str, Value]]:
    """Return the milliseconds of an image of each case, and its multiple of the first case."""
    first = next(iter(timings.values()))
    return {
        name: {"ms/image": scaled(timing.per_image, 1000), "times the first": timing.ratio(first)}
        for name, timing in timings.items()
    }


def with_tower(work: Workload, cases: list[Case]) -> dict[str, Timing]:
    """Return the timings of cases with stored features, to which the time of the tower is added."""
    encoder, inputs = work.model.encoder, work.encoder_inputs()
    timings = work.measure([work.case(TOWER, lambda: encode_all(work, encoder, inputs)), *cases])
    tower = timings.pop(TOWER)
    return {name: timing.plus(tower) for name, timing in timings.items()}


def steps(work: Workload, name: str, model: DepthCLIP) -> Case:
    """Return the case of the test steps of a model with stored features."""
    ready = work.ready(model)

    def run() -> None:
        for batch in work.batches:
            ready.test_step(batch, 0)

    return work.case(name, run)


def by_words(work: Workload) -> list[Case]:
    """Return a case for each number of words, whose text features are random."""
    cases = []
    for count in WORDS:
        with without_warnings():
            text = random_sentences(work)
            head = DepthHead(Prompts([f"word {k}" for k in range(count)]), Bins(torch.linspace(1, 9, count).tolist()))
            cases.append(steps(work, f"{count} words", without_tower(work.model, head, text=text)))
    return cases


def random_sentences(work: Workload) -> SentenceEncoder:
    """Return a text encoder with random features of the dimension of the image features."""
    with torch.inference_mode():
        dim = work.model.encoder.encode_image(work.encoder_inputs()[0][:1], work.model.needs).dense.shape[1]
    generator = torch.Generator().manual_seed(0)
    device = work.runtime.device
    return SentenceEncoder(lambda texts: torch.randn(len(texts), dim, generator=generator).to(device), 100.0)


def by_variants(work: Workload) -> list[Case]:
    """Return a case for each number of heads, and for all alignments with the rank correlation."""
    cases = []
    for count in VARIANTS:
        copies = {f"copy {k}": deepcopy(work.model.head) for k in range(1, count)}
        name = f"{count} head{'s' * (count > 1)}"
        cases.append(steps(work, name, without_tower(work.model, work.model.head, copies)))
    aligned = without_tower(work.model, work.model.head, {}, alignments=ALIGNMENTS, errors=[Spearman()])
    return [*cases, steps(work, "1 head, all alignments, rank correlation", aligned)]


def by_side(work: Workload, factors: tuple[float, ...]) -> list[Case]:
    """Return a case for each size of the images: encoding, heads and upsampling."""
    cases = []
    for factor in factors:
        height, width = (round(side * factor) for side in work.seen)
        stacks = [(batch.view, F.interpolate(rgb, (height, width))) for batch, rgb in work.stacks()]

        def run(stacks: list = stacks, size: tuple[int, int] = (height, width)) -> None:
            for view, rgb in stacks:
                for output in work.model.coarse(rgb, view):
                    view.upsample(output.depth, size)

        cases.append(work.case(f"{height} x {width} pixels", run))
    return cases


def by_batch(work: Workload) -> list[Case]:
    """Return a case for each batch size: encoding, heads and upsampling."""
    view, rgb, size = work.batches[0].view, next(work.stacks())[1], work.seen
    cases = []
    for count in BATCHES:
        images = rgb[torch.arange(count) % len(rgb)]

        def run(images: torch.Tensor = images) -> None:
            for output in work.model.coarse(images, view):
                view.upsample(output.depth, size)

        cases.append(work.case(f"batch of {count}", run, count))
    return cases


def by_workers(work: Workload) -> list[Case]:
    """Return a case of the test from files for each number of worker processes."""
    return [
        work.loop_case(f"{count} worker{'s' * (count != 1)}", replace(work.data.loading, num_workers=count))
        for count in WORKERS
    ]


def by_devices(work: Workload) -> list[Case]:
    """Return a case of the test from files for each number of devices, as the run of the share of one device."""

    def run_share(count: int) -> float:
        return work.loop(batches=-(-work.amount.batches // count)).seconds

    return [
        Case(f"{count} device{'s' * (count > 1)} (simulated)", partial(run_share, count), work.images)
        for count in DEVICES
    ]
