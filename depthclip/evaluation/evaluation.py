"""Evaluation: the errors of all heads and baselines for each image, exact on any number of devices."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from depthclip.accelerator import is_accelerator
from depthclip.data.batches import Item, Unreadable
from depthclip.errors import InputError
from depthclip.evaluation.baselines import Fitted, random_depth
from depthclip.evaluation.best_constant import BestConstant
from depthclip.evaluation.means import depth_means, masked_means
from depthclip.evaluation.measures import Measure, ScoredImage
from depthclip.evaluation.metrics import UNREADABLE, DepthErrors, Result
from depthclip.gather import gather
from depthclip.protocol import Alignment, Box, Scoring

RANDOM, TRAINING_CONSTANT, TRAINING_MAP = "random", "training constant", "training median map"
BEST_CONSTANT = "best constant (oracle)"
OF_A_MODEL = "check its temperature, logit_scale and bins, the weights, and learning_rate if it was trained"
BASELINES = (RANDOM, TRAINING_CONSTANT, TRAINING_MAP, BEST_CONSTANT)


class Maps(Protocol):
    """V predictions of an image, which are computed when they are read."""

    def __iter__(self) -> Iterator[Tensor]:
        """Yield one prediction after the other, (h, w) metres."""

    def stack(self) -> Tensor:
        """Return all predictions, (V, h, w) metres."""


class Fixed(NamedTuple):
    """Maps that are computed once for all images of one size.

    Args:
        size: (H, W) of the target.
        seen: box of the target that the model saw, of size (h, w).
        inside: (h * w,) bool, the pixels in the crop of the protocol; None if all are.
        fitted: (2, h, w) metres, the baselines fitted to training images; None without them.
    """

    size: tuple[int, int]
    seen: Box
    inside: Tensor | None
    fitted: Tensor | None


class Outcome(NamedTuple):
    """The result of an evaluation of N images.

    Args:
        result: the errors of every image.
        heads: the rows that are the model's; the other rows are baselines.
        best_constant: the best value of each error that one constant reaches; None without baselines.
        images: names of the N images, in the order of the result.
        scenes: their scenes, "" where the data set names none.
    """

    result: Result
    heads: tuple[str, ...]
    best_constant: dict[str, float] | None
    images: tuple[str, ...]
    scenes: tuple[str, ...]

    @property
    def unreadable(self) -> list[str]:
        """Names of the images that could not be read."""
        unreadable = (self.result.pixels == UNREADABLE).tolist()
        return [name for name, missing in zip(self.images, unreadable, strict=True) if missing]


class Evaluation:
    """Score depth maps by a protocol and gather the errors of all devices.

    Args:
        heads: names of the V predictions of an image.
        fitted: baselines fitted to training images, where there are any.
        device: device of the model, on which the errors are collected.
        baselines: whether baselines are scored too.
        measures: further figures beside the nine errors.
        rivals: names of the user's baselines.
        alignments: alignments in which all rows are scored, in addition to that of the protocol.
    """

    def __init__(
        self,
        heads: tuple[str, ...],
        fitted: Fitted | None,
        device: torch.device,
        baselines: bool = True,
        measures: Sequence[Measure] = (),
        rivals: Sequence[str] = (),
        alignments: Sequence[Alignment] = (),
    ) -> None:
        self.heads = heads
        self.fitted = None if fitted is None else fitted.to(device)
        self.fixed: Fixed | None = None  # of the last image
        self.baselines = baselines
        extra = (RANDOM, TRAINING_CONSTANT, TRAINING_MAP)[: 3 if fitted else 1] if baselines else ()
        self.errors = DepthErrors((*heads, *extra, *rivals), measures, alignments).to(device)
        self.alignment: Alignment | None = None  # of the protocol, known with the first image
        self.best_constant = BestConstant().to(device)
        self.labels: dict[int, tuple[str, str]] = {}  # name and scene of each image

    @property
    def needs_spread(self) -> bool:
        """Whether a figure depends on the standard deviation of the predictions."""
        return any(measure.needs_spread for measure in self.errors.measures)

    def add(
        self,
        item: Item,
        prediction: Tensor | Maps,
        scoring: Scoring,
        rivals: Iterable[Tensor] = (),
        spread: Tensor | None = None,
    ) -> None:
        """Score the depth of an image, in float32 under any precision.

        Without further figures and alignments, the CPU scores each prediction while it is in the cache, and an
        accelerator scores all of them in a number of operations that does not grow with V, without waiting for it.
        Otherwise the pixels that count are selected first, for which an accelerator waits.

        Args:
            item: the image with its ground truth.
            prediction: (V, h, w) metres, V predictions of what the model saw.
            scoring: which pixels count.
            rivals: (1, h', w') metres each, predictions of the user's baselines, which may be computed when read.
            spread: (V, h, w) metres, the standard deviation of the predictions; None unless `needs_spread`.

        Raises:
            InputError: if the image has no ground truth.
        """
        device = item.target.device
        with torch.autocast(device.type, enabled=False):  # the trainer's precision is that of the model
            plain, parallel = self.plain(scoring), is_accelerator(device)
            if not isinstance(prediction, Tensor) and (parallel or not plain):
                prediction = prediction.stack()
            maps = self.maps(item, prediction, scoring, rivals)
            if not plain:
                self.add_measured(item, torch.cat([*maps]), scoring, spread)
            elif parallel:
                self.add_masked(item, torch.cat([*maps]), scoring)
            else:
                self.add_selected(item, maps, scoring)
        self.alignment = scoring.alignment
        self.labels[item.index] = (item.name, item.scene)

    def plain(self, scoring: Scoring) -> bool:
        """Return whether only the nine errors are computed, in one alignment, which is `none`."""
        return not self.errors.measures and not self.errors.alignments and scoring.alignment == "none"

    def maps(
        self, item: Item, prediction: Tensor | Maps, scoring: Scoring, rivals: Iterable[Tensor]
    ) -> Iterator[Tensor]:
        """Yield the predictions of all rows at the pixels of the target that the model saw, (v, h, w) each."""
        target, seen = item.target, item.seen
        if isinstance(prediction, Tensor):
            yield scoring.resampled(prediction, seen)
        else:
            yield from (scoring.resampled(each[None], seen) for each in prediction)
        if not self.baselines:
            return
        device = target.device
        yield random_depth((1, *seen.size), scoring.farthest(target), item.index, device)
        if (fitted := self.fixed_of(target, seen, scoring).fitted) is not None:
            yield fitted
        yield from (scoring.resampled(rival, seen) for rival in rivals)

    def fixed_of(self, target: Tensor, seen: Box, scoring: Scoring) -> Fixed:
        """Return what images of the size of a target (H, W) have in common, computed if the last image differed."""
        size = (target.shape[0], target.shape[1])
        if self.fixed is None or self.fixed[:2] != (size, seen):
            fitted = None if self.fitted is None else seen.cut(self.fitted.at(size))
            inside = scoring.inside(target, seen)
            self.fixed = Fixed(size, seen, None if inside is None else inside.flatten(), fitted)
        return self.fixed

    def add_selected(self, item: Item, maps: Iterable[Tensor], scoring: Scoring) -> None:
        """Add the errors of an image, computed for one prediction after the other at the pixels that count."""
        target, seen = item.target, item.seen
        places = scoring.mask(target, seen).flatten().nonzero()[:, 0].int()
        values = seen.cut(target).flatten().index_select(0, places)
        log_values = values.log()
        means = [
            depth_means(each.flatten().index_select(0, places).clamp_(*scoring.limits)[None], values, log_values)
            for part in maps
            for each in part
        ]
        self.errors.update(item.index, len(values), torch.cat(means))
        if self.baselines:
            self.best_constant.update(values, log_values)

    def add_masked(self, item: Item, maps: Tensor, scoring: Scoring) -> None:
        """Add the errors of an image, computed for all predictions at once and with a mask."""
        depth = item.seen.cut(item.target).flatten()
        inside = self.fixed_of(item.target, item.seen, scoring).inside
        mask = scoring.counts(depth) if inside is None else scoring.counts(depth) & inside
        missing, pixels = ~mask, mask.sum(0, keepdim=True)
        # 1 m in both: these pixels add nothing to the sums
        truth = depth.masked_fill(missing, 1)
        prediction = maps.flatten(1).clamp(*scoring.limits).masked_fill_(missing, 1)
        log_truth, some = truth.log(), pixels.clamp_min(1)
        means = masked_means(prediction, truth, log_truth, missing, some, self.errors.limits)
        self.errors.update(item.index, pixels, means)
        if self.baselines:
            self.best_constant.update(truth, log_truth, mask, some)

    def add_measured(self, item: Item, maps: Tensor, scoring: Scoring, spread: Tensor | None) -> None:
        """Add the errors of an image in all alignments, and its further figures."""
        target, seen = item.target, item.seen
        mask = scoring.mask(target, seen)
        pixels, values = maps[:, mask], seen.cut(target)[mask]
        focal = None if item.focal is None else item.focal * seen.size[1] / item.rgb.shape[-1]
        deviations = None
        if spread is not None:
            deviations = torch.full_like(pixels, math.nan)
            deviations[: len(spread)] = scoring.resampled(spread, seen)[:, mask]
        center = (target.shape[0] / 2 - seen.top, target.shape[1] / 2 - seen.left)
        scored = ScoredImage(scoring.limit(pixels, values), values, mask, focal, deviations, center, unaligned=pixels)
        further = (
            None if alignment == scoring.alignment else scoring.limit(pixels, values, alignment)
            for alignment in self.errors.alignments
        )
        self.errors.score(scored, item.index, further)
        if self.baselines:
            self.best_constant.update(values)

    def skip(self, unreadable: Sequence[Unreadable]) -> None:
        """Count images that could not be read."""
        for image in unreadable:
            self.errors.skip(image.index)
            self.best_constant.skip()
            self.labels[image.index] = (image.name, image.scene)

    def outcome(self) -> Outcome:
        """Return the errors of all devices together; every device must call it.

        Raises:
            InputError: if another process has ended.
        """
        labels: dict[int, tuple[str, str]] = {}
        alignment: Alignment = "none"
        # before the metrics, whose own gathering has no sentence for a lost process
        for part, of_part in gather((self.labels, self.alignment)):
            labels |= part
            alignment = of_part or alignment
        best = self.best_constant.compute() if self.baselines else None
        result = self.errors.result(alignment)
        images, scenes = zip(*(labels[index] for index in result.index.tolist()), strict=True)
        return Outcome(result, self.heads, best, images, scenes)


def check_outcome(outcome: Outcome, scoring: Scoring | None, hint: str = OF_A_MODEL) -> None:
    """Raise if an evaluation has no meaningful figures.

    Args:
        outcome: the gathered errors.
        scoring: the protocol, for the message; None if it is unknown.
        hint: what to check if the depth of a head is not finite.

    Raises:
        InputError: if no image has a pixel that counts, or the depth of an image is not finite.
    """
    result, count = outcome.result, len(outcome.result.index)
    if len(outcome.unreadable) == count:
        raise InputError(f"none of the {count} images could be read; check the files that the warnings name")
    if not result.images:
        limits = f" of {scoring.min_depth:g} to {scoring.cap:g} m and crop {scoring.crop}" if scoring else ""
        raise InputError(
            f"no pixel of the {count} images counts: no valid depth lies within the scoring{limits}; check the scale "
            "of the depth files (values per metre), scoring.min_depth, scoring.max_depth, scoring.crop, view.crop and "
            "the calibration"
        )
    # a positive and finite ground truth leaves only the prediction as a cause of NaN here
    lost = result.errors[..., 0].isnan() & (result.pixels > 0)[:, None]
    if lost.any():
        image, row = lost.nonzero()[0].tolist()
        if row >= len(outcome.heads):
            raise InputError(
                f"the depth by the baseline {result.names[row]!r} of {outcome.images[image]} is not finite; return "
                "finite metres at every pixel"
            )
        raise InputError(f"the depth by {outcome.heads[row]!r} of {outcome.images[image]} is not finite; {hint}")
