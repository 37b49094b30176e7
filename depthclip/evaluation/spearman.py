"""Spearman's rank correlation of prediction and ground truth."""

import math

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
        true = centred_ranks(image.target)
        predictions = image.prediction if image.unaligned is None else image.unaligned
        # one prediction at a time stays in the cache
        return torch.stack([_correlation(centred_ranks(p), true) for p in predictions])[:, None]


def centred_ranks(values: Tensor) -> Tensor:
    """Return the ranks of values minus the mean rank, (N,) float64; equal values share their average rank.

    Args:
        values: (N,); the ranks are NaN if a value is NaN.
    """
    ordered, order = values.sort()
    _, group, sizes = ordered.unique_consecutive(return_inverse=True, return_counts=True)
    last = sizes.cumsum(0)
    average = last - (sizes - 1) / 2.0 - (len(values) + 1) / 2
    ranks = torch.empty(len(values), dtype=torch.float64, device=values.device)
    ranks[order] = average.double()[group]
    return torch.where(ordered[-1:].isnan(), math.nan, ranks)  # NaN is sorted last


def _correlation(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y) / ((x @ x) * (y @ y)).sqrt()  # 0 / 0 = NaN if either is constant
