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
    order = sorting_order(values)
    ordered = values[order]
    starts = torch.cat([order.new_zeros(1), (ordered[1:] != ordered[:-1]).nonzero()[:, 0] + 1])
    sizes = torch.cat([starts[1:], order.new_tensor([len(values)])]) - starts
    average = starts.double() + (sizes - len(values)) / 2.0
    missing = ordered[0].isnan() | ordered[-1].isnan()  # NaN is sorted first or last, depending on its sign
    average[-1] = torch.where(missing, math.nan, average[-1])
    return order, average.repeat_interleave(sizes) if len(sizes) < len(values) else average


def sorting_order(values: Tensor) -> Tensor:
    """Return the order that sorts values (N,).

    float32 numbers are in the order of their bits as int32, with those below the sign inverted in negative numbers.
    torch sorts integers by their digits, several times faster than floats.
    """
    if values.dtype != torch.float32:
        return values.argsort()
    bits = values.view(torch.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).argsort()


def _correlation(prediction: Tensor, true: Tensor) -> Tensor:
    order, ranks = ranked(prediction)
    return (ranks @ true[order]) / ((ranks @ ranks) * (true @ true)).sqrt()  # 0 / 0 = NaN if either is constant
