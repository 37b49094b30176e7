"""Calibrate the intervals of a model on validation images."""

from collections.abc import Callable, Iterator

import torch

from depthclip.data.batches import Batch, Item
from depthclip.data.module import DepthDataModule
from depthclip.depth_maps import ImageDepth
from depthclip.errors import InputError
from depthclip.evaluation.conformal import Conformal, IntervalQuality

Estimates = Callable[[Batch], Iterator[tuple[Item, ImageDepth]]]


def check_intervals(intervals: Conformal | None, data: DepthDataModule | None, stage: str) -> None:
    """Raise if intervals cannot be calibrated or tested; called before the work of a stage starts.

    Args:
        intervals: intervals of the model.
        data: the data module of the trainer; None skips all checks but the first.
        stage: `fit`, `validate`, `test` or `predict`.

    Raises:
        InputError: if there is no data module to calibrate them with, the scoring fits the scale of the prediction to
            its truth, or there are too few validation images or scenes.
    """
    if intervals is None or stage == "predict":
        return
    needed = not intervals.calibrated or stage != "test"
    if data is None:
        if stage == "test" and needed:
            raise InputError(
                "intervals are calibrated on validation images, but there is no data module; pass one to the trainer, "
                "load a checkpoint that holds them, or set intervals to null"
            )
        return
    if data.scoring.alignment != "none":
        raise InputError(
            f"intervals are in metres, but scoring.alignment {data.scoring.alignment} fits each prediction to its "
            "target; set it to none, or intervals to null"
        )
    if needed:
        samples = data.validation_samples() if data.has("val") else ()
        scenes = {samples.scene(k) for k in range(len(samples))} if intervals.unit == "scene" and samples else samples
        intervals.check_units(len(scenes))


def restart(intervals: Conformal | None) -> None:
    """Clear the images that were added to intervals, if there are any."""
    if intervals is not None:
        intervals.reset()


def add_image(intervals: Conformal | None, item: Item, depth: ImageDepth, batch: Batch) -> None:
    """Add the scores of the head on an image to the intervals.

    Args:
        intervals: the intervals; None for none.
        item: the image and its ground truth.
        depth: depth of the head and its variants.
        batch: the batch, for its view and scoring.
    """
    if intervals is None:
        return
    scoring = batch.scoring
    aligned = scoring.align(depth.stack(1), item.target, item.seen)
    prediction, target = aligned.pixels()
    spread = None
    if intervals.score == "spread":
        maps = depth.spread(1)
        spread = scoring.resampled(maps, item.seen)[0, aligned.mask]
    intervals.update(prediction[0].clamp(*scoring.limits), target, spread, item.scene)


@torch.no_grad()
def calibrate(
    intervals: Conformal | None, data: DepthDataModule | None, device: torch.device, estimates: Estimates
) -> None:
    """Calibrate intervals in a pass over the validation images, unless they are calibrated.

    Each device reads a part of the images.

    Args:
        intervals: intervals of a model.
        data: the data module of the trainer.
        device: device of the model.
        estimates: function that yields the images of a batch and their depth.
    """
    if intervals is None or intervals.calibrated or data is None:
        return
    intervals.reset()
    for batch in data.validation_batches():
        moved = batch.to(device)
        for item, depth in estimates(moved):
            add_image(intervals, item, depth, moved)
    intervals.compute()


def quality_of(intervals: Conformal | None) -> list[IntervalQuality]:
    """Return the measures that `test` computes of intervals: none without intervals."""
    return [] if intervals is None else [IntervalQuality(intervals)]
