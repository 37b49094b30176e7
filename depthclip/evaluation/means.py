"""The means over pixels from which the nine errors of an image are computed."""

import numpy as np
import torch
from torch import Tensor

LIMITS = tuple(1.25**power for power in (1, 2, 3))  # of the ratio of depths
ROWS = 64  # predictions that an accelerator scores at once, which bounds its memory


def depth_means(prediction: Tensor, target: Tensor, log_target: Tensor) -> Tensor:
    """Return means over the pixels of an image for V predictions, (V, 9) float64.

    With p the prediction, g the target and d = ln p - ln g: the means of |p - g| / g, (p - g)^2 / g, (p - g)^2, d^2,
    |d| and d, and the shares of max(p/g, g/p) < 1.25, 1.25^2 and 1.25^3. Sums are in float64.

    Args:
        prediction: (V, N) metres, positive: V predictions at the N pixels that count.
        target: (N,) metres, positive.
        log_target: (N,), the natural logarithm of the target.
    """
    # one prediction at a time stays in the cache, which is several times faster than all at once
    return torch.stack([_means(p, target, log_target) for p in prediction])


def _means(p: Tensor, g: Tensor, log_g: Tensor) -> Tensor:
    difference = p - g
    relative = difference / g
    d = p.log().sub_(log_g)
    ratio = torch.maximum(p / g, g / p)
    terms = (relative.abs(), relative * difference, difference.square(), d.square(), d.abs(), d)
    # double() and then mean() takes a third of the time of mean(dtype=torch.float64)
    return torch.stack([*(term.double().mean() for term in terms), *_shares(ratio)])


def _shares(ratio: Tensor) -> list[Tensor]:
    """Return the share of values below each limit; on the CPU, NumPy counts much faster than torch."""
    if ratio.device.type != "cpu":
        return [(ratio < limit).mean(dtype=torch.float64) for limit in LIMITS]
    values = ratio.detach().numpy()
    counts = [np.count_nonzero(values < limit) for limit in LIMITS]
    return [torch.tensor(count / max(len(values), 1), dtype=torch.float64) for count in counts]


def masked_means(
    prediction: Tensor, target: Tensor, log_target: Tensor, missing: Tensor, pixels: Tensor, limits: Tensor
) -> Tensor:
    """Return the means of `depth_means` in a number of operations that does not grow with V, (V, 9) float64.

    The pixels are not selected, because an accelerator would wait for their number.

    Args:
        prediction: (V, N) metres, positive, and equal to the target at the pixels that do not count.
        target: (N,) metres, positive.
        log_target: (N,), the natural logarithm of the target.
        missing: (N,) bool, the pixels that do not count.
        pixels: (1,), the number of pixels that count, at least 1.
        limits: (3, 1), `LIMITS` on the device.
    """
    if len(prediction) > ROWS:
        parts = prediction.split(ROWS)
        return torch.cat([masked_means(p, target, log_target, missing, pixels, limits) for p in parts])
    difference = prediction - target
    relative = difference / target
    d = prediction.log().sub_(log_target)
    ratio = torch.maximum(prediction / target, target / prediction).masked_fill_(missing, torch.inf)
    terms = torch.stack((relative.abs(), relative * difference, difference.square(), d.square(), d.abs(), d), 1)
    return torch.cat([terms.sum(-1, dtype=torch.float64), (ratio[:, None] < limits).sum(-1)], 1) / pixels
