"""One evaluation: the errors of all heads and baselines, image by image, exact on any number of devices."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from depthclip.evaluation.baselines import BestConstant, Fitted, random_depth
from depthclip.evaluation.metrics import DepthErrors, ErrorMeasure, Result
from depthclip.evaluation.protocol import Box, Scoring


class Outcome(NamedTuple):
    """What came out of an evaluation.

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
        extra = ("random", "training constant", "training median map")[: 3 if fitted else 1] if baselines else ()
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
        """Scores what the heads say of an image.

        Args:
            index: the image's place in the data set.
            depth: (V, h, w) metres of what the model saw.
            truth: (H, W) metres, 0 = invalid, all of it.
            seen: where in the truth the model looked.
            scoring: which pixels count.
            rivals: (1, h', w') metres each, the depth of the user's baselines on the grid of the truth.
        """
        if self.baselines:
            maps = [scoring.resampled(depth, seen), random_depth(seen.size, scoring.max_depth, index)[None].to(depth)]
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
