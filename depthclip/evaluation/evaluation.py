"""One evaluation: the errors of all heads and baselines, image by image, exact on any number of devices."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from depthclip.errors import InputError
from depthclip.evaluation.baselines import BestConstant, Fitted, random_depth
from depthclip.evaluation.metrics import DepthErrors, ErrorMeasure, Result
from depthclip.protocol import Box, Scoring

RANDOM, TRAINING_CONSTANT, TRAINING_MAP = "random", "training constant", "training median map"
BEST_CONSTANT = "best constant (oracle)"
BASELINES = (RANDOM, TRAINING_CONSTANT, TRAINING_MAP, BEST_CONSTANT)


class Outcome(NamedTuple):
    """The result of an evaluation.

    Args:
        result: the errors of every image.
        heads: the rows that are the model's; the other rows are baselines.
        best_constant: the best value of each error that one constant reaches; None where baselines were not wanted.
    """

    result: Result
    heads: tuple[str, ...]
    best_constant: dict[str, float] | None


class Evaluation:
    """Scores depth maps by a protocol and gathers the errors of all devices.

    Args:
        heads: what the V predictions of an image are called.
        fitted: baselines fitted on training images, where there are any.
        device: where the counters live, that of the model.
        baselines: whether baselines are scored too.
        measures: error measures beside the nine.
        rivals: names of the user's baselines, whose depth `add` gets.
    """

    def __init__(
        self,
        heads: tuple[str, ...],
        fitted: Fitted | None,
        device: torch.device,
        baselines: bool = True,
        measures: Sequence[ErrorMeasure] = (),
        rivals: Sequence[str] = (),
    ) -> None:
        self.heads = heads
        self.fitted = fitted
        self.baselines = baselines
        extra = (RANDOM, TRAINING_CONSTANT, TRAINING_MAP)[: 3 if fitted else 1] if baselines else ()
        self.errors = DepthErrors((*heads, *extra, *rivals), measures).to(device)
        self.best_constant = BestConstant().to(device)

    def add(
        self,
        index: int,
        depth: Tensor,
        truth: Tensor,
        seen: Box,
        scoring: Scoring,
        rivals: Sequence[Tensor] = (),
    ) -> None:
        """Score the depth of an image.

        Args:
            index: the image's place in the data set.
            depth: (V, h, w) metres of what the model saw.
            truth: (H, W) metres, 0 = invalid, all of it.
            seen: where in the truth the model looked.
            scoring: which pixels count.
            rivals: (1, h', w') metres each, the depth of the user's baselines on the grid of the truth.
        """
        if self.baselines:
            maps = [
                scoring.resampled(depth, seen),
                random_depth(seen.size, scoring.farthest(truth), index)[None].to(depth),
            ]
            if self.fitted is not None:
                maps.append(seen.cut(self.fitted.at((truth.shape[0], truth.shape[1]))).to(depth))
            depth = torch.cat([*maps, *(rival.to(depth) for rival in rivals)])
        prediction, true = scoring.select(depth, truth, seen)
        self.errors.update(prediction, true, index)
        if self.baselines:
            self.best_constant.update(true)

    def skip(self, index: int) -> None:
        """Notes an image that could not be read."""
        self.errors.skip(index)

    def outcome(self) -> Outcome:
        """The errors of all devices together; every device must ask."""
        best = self.best_constant.compute() if self.baselines else None
        return Outcome(self.errors.result(), self.heads, best)


def check_outcome(outcome: Outcome, scoring: Scoring | None, name: Callable[[int], str]) -> None:
    """Raise if the figures of an evaluation would mean nothing.

    Args:
        outcome: the gathered errors.
        scoring: the protocol, for the message; None if it is unknown.
        name: returns the name of an image by its index.

    Raises:
        InputError: if no image has a pixel that counts, or a head's depth of an image is not finite.
    """
    result, count = outcome.result, len(outcome.result.index)
    if not result.images and len(result.unreadable) == count:
        raise InputError(f"none of the {count} images could be read; check the files that the warnings name")
    if not result.images:
        limits = f" of {scoring.min_depth:g} to {scoring.cap:g} m and crop {scoring.crop}" if scoring else ""
        raise InputError(
            f"no pixel of the {count} images counts: no valid depth lies within the scoring{limits}; check the scale "
            "of the depth files (values per metre), scoring.min_depth, scoring.max_depth, scoring.crop, view.crop and "
            "the calibration"
        )
    # a positive and finite truth leaves only the prediction as a cause of NaN here
    lost = result.errors[:, : len(outcome.heads), 0].isnan() & (result.pixels > 0)[:, None]
    if lost.any():
        image, head = lost.nonzero()[0].tolist()
        raise InputError(
            f"the depth by {outcome.heads[head]!r} of {name(int(result.index[image]))} is not finite; check its "
            "temperature, logit_scale and bins, the weights, and learning_rate if it was trained"
        )
