"""Spearman's rank correlation of prediction and ground truth."""

import math

import numpy as np
import torch
from torch import Tensor

from depthclip.evaluation.measures import Measure, ScoredImage


class Spearman(Measure):
    """Spearman's rank correlation of prediction and target over the pixels of an image that count.

    The correlation is computed before alignment and clamping: it measures the order of the depths and ignores metres.
    Equal depths share their average rank. It is not defined for a constant prediction or target.
    """

    names = ("spearman",)
    higher = ("spearman",)

    def of(self, image: ScoredImage) -> Tensor:
        """Return the correlation of each prediction of one image with the target, (V, 1) float64."""
        order, ranks = ranked(image.target)
        true = torch.empty_like(ranks)
        true[order] = ranks
        predictions = image.prediction if image.unaligned is None else image.unaligned
        # one prediction at a time stays in the cache
        return torch.stack([_correlation(p, true) for p in predictions])[:, None]


def ranked(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the order that sorts values, and the ranks in that order minus the mean rank, (N,) float64.

    Equal values share their average rank.

    Args:
        values: (N,), at least one; the ranks are NaN if a value is NaN.
    """
    # on the CPU, NumPy sorts much faster than torch
    order = torch.from_numpy(np.argsort(values.numpy())) if values.device.type == "cpu" else values.argsort()
    ordered = values[order]
    starts = torch.cat([order.new_zeros(1), (ordered[1:] != ordered[:-1]).nonzero()[:, 0] + 1])
    sizes = torch.cat([starts[1:], order.new_tensor([len(values)])]) - starts
    average = starts.double() + (sizes - len(values)) / 2.0
    average[-1] = torch.where(ordered[-1].isnan(), math.nan, average[-1])  # NaN is sorted last
    return order, average.repeat_interleave(sizes) if len(sizes) < len(values) else average


def _correlation(prediction: Tensor, true: Tensor) -> Tensor:
    order, ranks = ranked(prediction)
    return (ranks @ true[order]) / ((ranks @ ranks) * (true @ true)).sqrt()  # 0 / 0 = NaN if either is constant
