"""Alignment: fit the predictions of an image to its ground truth by a scale and a shift, before they are clamped."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from depthclip.checks import check_choice
from depthclip.errors import InputError

Alignment = Literal["none", "median", "scale", "affine", "log_affine", "disparity_affine"]
ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)


def check_alignments(alignments: Sequence[str]) -> None:
    """Raise if an alignment is unknown or occurs twice.

    Args:
        alignments: names of alignments.

    Raises:
        InputError: if a name is unknown or occurs twice.
    """
    for alignment in alignments:
        check_choice("alignments:", alignment, ALIGNMENTS)
    if len(set(alignments)) < len(alignments):
        raise InputError(f"alignments {list(alignments)} has a name twice; give each alignment once")


class Line(NamedTuple):
    """A line y = slope (x - mean_x) + mean_y."""

    slope: Tensor
    mean_x: Tensor
    mean_y: Tensor

    def at(self, x: Tensor) -> Tensor:
        """Return y at each x."""
        return (x - self.mean_x).mul_(self.slope).add_(self.mean_y)


def align_depth(prediction: Tensor, target: Tensor, alignment: Alignment) -> Tensor:
    """Return predictions of an image that are aligned with the target, before clamping.

    With p the prediction, g the target, and least squares over the N pixels that count:

    - `none`: p.
    - `median`: p median(g) / median(p).
    - `scale`: s p, where s minimizes the sum of (s p - g)^2.
    - `affine`: s p + t, where s and t minimize the sum of (s p + t - g)^2.
    - `log_affine`: exp(s ln p + t), where s and t minimize the sum of (s ln p + t - ln g)^2.
    - `disparity_affine`: 1 / (s / p + t), where s and t minimize the sum of (s / p + t - 1 / g)^2; infinite where the
      aligned disparity s / p + t is not positive.

    A constant prediction, or a single pixel, has the slope s = 0 in the alignments with a shift: it becomes the mean of
    g, ln g or 1 / g. A prediction of 0 everywhere stays 0 under `scale`, and one whose median is 0 stays as it is under
    `median`. Pixels with p <= 0, which have neither a logarithm nor a disparity, do not count in the fit of
    `log_affine` and `disparity_affine`, and become 0.

    Args:
        prediction: (V, N) metres, V predictions.
        target: (N,) metres, positive.
        alignment: name of the alignment.

    Returns:
        (V, N) metres; may be negative or infinite.
    """
    if alignment == "none" or not len(target):
        return prediction
    if alignment == "median":
        factor = _middle(target) / _middle(prediction)[:, None]
        return prediction * factor.masked_fill_(factor.isinf(), 1)
    # sums are in float64, and a single prediction at a time stays in the cache
    if alignment == "scale":
        true = target.double()
        return torch.stack([p * scale_of(p.double(), true).to(p.dtype) for p in prediction])
    if alignment == "affine":
        true = target.double()
        return torch.stack([fit_line(p.double(), true).at(p.double()).to(p.dtype) for p in prediction])
    if alignment == "log_affine":
        true = target.log().double()
        return torch.stack([_log_affine(p, true) for p in prediction])
    true = target.double().reciprocal_()
    return torch.stack([_disparity_affine(p, true) for p in prediction])


def scale_of(x: Tensor, y: Tensor) -> Tensor:
    """Return the s that minimizes the sum of (s x - y)^2; 0 if x is 0 everywhere.

    Args:
        x: (N,).
        y: (N,).
    """
    return (x @ y) / (x @ x).clamp_min(torch.finfo(x.dtype).tiny)


def fit_line(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Line:
    """Return the line that minimizes the weighted sum of squared residuals; its slope is 0 if x is constant.

    Args:
        x: (N,).
        y: (N,).
        weight: (N,), at least 0; None for equal weights.
    """
    if weight is None:
        mean_x, mean_y = x.mean(), y.mean()
        centred = weighted = x - mean_x
    else:
        total = weight.sum()
        mean_x, mean_y = (weight @ x) / total, (weight @ y) / total
        centred = x - mean_x
        weighted = weight * centred
    slope = (weighted @ (y - mean_y)) / (weighted @ centred).clamp_min(torch.finfo(x.dtype).tiny)
    return Line(slope, mean_x, mean_y)


def median(values: Tensor, dim: int) -> Tensor:
    """Return the median along a dimension, ignoring NaN: the mean of the middle two of an even number, as in NumPy.

    torch.nanmedian returns the lower of the middle two; negated values give the upper one.
    """
    return (values.nanmedian(dim).values - (-values).nanmedian(dim).values) / 2


def _middle(values: Tensor) -> Tensor:
    """Return the median along the last dimension; on the CPU, NumPy selects the middle much faster than torch."""
    if values.device.type != "cpu":
        return median(values, -1)
    return torch.as_tensor(np.median(values.detach().numpy(), -1), dtype=values.dtype)


def _log_affine(p: Tensor, log_target: Tensor) -> Tensor:
    excluded = p <= 0
    x = p.masked_fill(excluded, 1).log().double()
    return fit_line(x, log_target, (~excluded).double()).at(x).to(p.dtype).exp_().masked_fill_(excluded, 0)


def _disparity_affine(p: Tensor, disparity: Tensor) -> Tensor:
    excluded = p <= 0
    x = p.double().masked_fill_(excluded, 1).reciprocal_()
    aligned = fit_line(x, disparity, (~excluded).double()).at(x)
    depth = aligned.reciprocal().masked_fill_(aligned <= 0, math.inf)
    return depth.to(p.dtype).masked_fill_(excluded, 0)
