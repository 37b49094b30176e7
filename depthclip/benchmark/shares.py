"""Which part of a test takes how much of its time? Each part is timed alone on the same images."""

from collections.abc import Callable
from itertools import islice

from torch import Tensor

from depthclip.benchmark.replay import without_tower
from depthclip.benchmark.speed import encode_all, workload_title
from depthclip.benchmark.tables import Table, Value
from depthclip.benchmark.timing import Case, Spread, Timing
from depthclip.benchmark.workload import Workload
from depthclip.encoder.readouts import Readout
from depthclip.encoder.tower_encoder import TowerEncoder
from depthclip.encoder.towers import Trunk
from depthclip.module import DepthCLIP

LOOP = "the whole test"
NOTE = (
    "Each part is timed alone, in turn with the others; *other* is the rest of the whole test. Files are read in the "
    "main process here."
)


def shares(work: Workload) -> Table:
    """Return the milliseconds and the share of each part of the test loop."""
    timings = work.measure(share_cases(work))
    parts, whole = share_parts(timings), timings[LOOP]
    rest = whole
    for part in parts.values():
        rest = rest.plus(part, -1)
    rows: dict[str, dict[str, Value]] = {
        name: {"ms/image": scaled(part.per_image, 1000), "share": percentage(part.ratio(whole))}
        for name, part in {**parts, "other": rest, LOOP: whole}.items()
    }
    return Table("shares", workload_title(work), ("ms/image", "share"), rows, NOTE)


def share_cases(work: Workload) -> list[Case]:
    """Return the cases from which the parts are computed."""
    model, device = work.ready(without_tower(work.model)), work.runtime.device
    on_cpu = [batch.to("cpu") for batch in work.batches]
    last = {"logging": 0.0}

    def read_files() -> None:
        for _ in islice(work.data.test_dataloader(), work.amount.batches):
            pass

    def estimate() -> None:
        for batch in work.batches:
            for _, depth in model.estimates(batch):
                depth.stack()

    def step() -> None:
        for batch in work.batches:
            model.test_step(batch, 0)

    def loop() -> float:
        watch = work.loop()
        last["logging"] = watch.logging
        return watch.seconds

    return [
        work.case("decoding", read_files),
        work.case("transfer", lambda: [batch.to(device) for batch in on_cpu]),
        *tower_parts(work),
        work.case("head", lambda: run_heads(work, model)),
        work.case("estimates", estimate),
        work.case("steps", step),
        Case(LOOP, loop, work.images),
        Case("logging", lambda: last["logging"], work.images),
    ]


def share_parts(timings: dict[str, Timing]) -> dict[str, Timing]:
    """Return the timing of each part, without the whole test; parts that contain others are reduced to the rest."""
    parts = {name: each for name, each in timings.items() if name not in (LOOP, "estimates", "steps", "logging")}
    parts["upsampling"] = timings["estimates"].plus(timings["head"], -1)
    parts["scoring"] = timings["steps"].plus(timings["estimates"], -1)
    return parts | {"logging": timings["logging"]}


def tower_parts(work: Workload) -> list[Case]:
    """Return the cases of the tower and the readout; one case of both if the readout runs the tower in its own way."""
    encoder, needs, inputs = work.model.encoder, work.model.needs, work.encoder_inputs()
    whole = [work.case("tower and readout", lambda: encode_all(work, encoder, inputs))]
    if not isinstance(encoder, TowerEncoder) or type(encoder.readout).forward is not Readout.forward:
        return whole
    tower, readout = encoder.tower, encoder.readout
    trunks: list[Trunk] = []

    def trunk_of(images: Tensor) -> Callable[[], Trunk]:
        return lambda: tower.trunk(tower.to_stride(images), needs.layers)

    run_trunks = [trunk_of(images) for batch in inputs for images in encoder.passes(batch)]
    work.case("", lambda: trunks.extend(run() for run in run_trunks)).run()
    return [
        work.case("tower", lambda: [run() for run in run_trunks]),
        work.case("readout", lambda: [readout.dense(tower, trunk) for trunk in trunks]),
    ]


def run_heads(work: Workload, model: DepthCLIP) -> None:
    """Run the heads on the features of all batches."""
    for batch in work.batches:
        for items, rgb in batch.by_size():
            model.coarse(rgb, batch.view, [item.focal for item in items])


def scaled(spread: Spread, factor: float) -> Spread:
    """Return a spread times a factor."""
    return Spread(*(value * factor for value in spread))


def percentage(spread: Spread) -> str:
    """Return a share as text."""
    return f"{spread.median:.1%} [{spread.low:.1%}, {spread.high:.1%}]"
