"""The oracle among constant depths: the best value of each error, exact and in one pass over the ground truth."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from depthclip.evaluation.lookup import Lookup
from depthclip.evaluation.metrics import ERRORS, MOST_ROWS, higher_is_better

FACTORS = tuple(1.25**power for power in (1, 2, 3))  # of delta1, delta2 and delta3
CHUNK = 1024  # images whose errors are computed at once


class BestConstant(Metric):
    """The errors of the constant depth that is best on the scored images, chosen for each error separately: an oracle.

    The errors of each constant of a logarithmic grid are exact. Means over pixels add up in a histogram of the ground
    truth, in which each image weighs 1 and whose edges are the depths that a constant separates; errors with a square
    root are computed from the moments of each image.

    Args:
        min_depth: the smallest constant, in metres.
        max_depth: the largest constant, in metres.
        count: number of constants; neighbours differ by half a percent by default.
    """

    full_state_update = False

    def __init__(self, min_depth: float = 0.1, max_depth: float = 100.0, count: int = 1400) -> None:
        super().__init__()
        grid = torch.logspace(math.log10(min_depth), math.log10(max_depth), count, dtype=torch.float64)
        # g < c, g < c f and g <= c / f, each as g < edge
        limits = [float32_from(grid), *(float32_from(grid * f) for f in FACTORS)]
        limits += [float32_from(grid / f, exclusive=True) for f in FACTORS]
        edges = torch.cat(limits).unique()
        self.constants: Tensor
        self.edges: Tensor
        self.places: Tensor
        self.histogram: Tensor
        self.moments: list[Tensor]
        self.register_buffer("constants", grid, persistent=False)
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("places", torch.searchsorted(edges, torch.stack(limits)), persistent=False)
        self.lookup = Lookup(edges)
        self.add_state("histogram", torch.zeros(3, len(edges) + 1, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("moments", default=[], dist_reduce_fx="cat")

    def update(
        self,
        target: Tensor,
        log_target: Tensor | None = None,
        mask: Tensor | None = None,
        pixels: Tensor | None = None,
    ) -> None:
        """Add the ground truth of an image; an image without scored pixels is skipped.

        With a mask the pixels are not selected, for which an accelerator would wait.

        Args:
            target: (N,), the depths of the scored pixels in metres, float32 and positive.
            log_target: (N,), the natural logarithm of the target; computed if None.
            mask: (N,) bool, the pixels that count; None for all.
            pixels: (1,), the number of pixels that count, at least 1; computed if None.
        """
        log_target = target.log() if log_target is None else log_target
        if mask is None:
            self._add(target, log_target)
        else:
            self._add_masked(target, log_target, mask, mask.sum(0, True).clamp_min(1) if pixels is None else pixels)

    def _add(self, target: Tensor, log_target: Tensor) -> None:
        bins, g, log_g = self.bins(target), target.double(), log_target.double()
        inverse, count = g.reciprocal(), g.new_tensor(len(g))
        for row, weights in zip(self.histogram, (inverse, None, log_g), strict=True):
            row += torch.bincount(bins, weights, minlength=len(row)).double() / max(len(g), 1)
        sums = torch.stack([inverse.sum(), count, log_g.sum(), g.sum()])
        norms = torch.stack([(inverse @ inverse), count, log_g @ log_g, g @ g]).sqrt()
        self._keep(torch.stack([sums, norms]))

    def _add_masked(self, target: Tensor, log_target: Tensor, mask: Tensor, pixels: Tensor) -> None:
        values = torch.stack([target.reciprocal(), mask, log_target, target]).double() * mask
        # squares in float64: the variance of the logarithm is a small difference
        self._keep(torch.stack([values.sum(1), torch.linalg.vector_norm(values, dim=1)]))
        bins = torch.bucketize(target, self.edges, right=True)
        self.histogram.index_add_(1, bins, values[:3] / pixels)

    def _keep(self, moments: Tensor) -> None:
        self.moments.append(moments[None])
        if len(self.moments) == MOST_ROWS:  # a tensor of one image takes ten times the memory of its numbers
            self.moments = [torch.cat(self.moments)]

    def bins(self, target: Tensor) -> Tensor:
        """Return the bin of each depth, (N,)."""
        if target.device.type == "cpu":
            return self.lookup(target)
        return torch.bucketize(target, self.edges, right=True)

    def skip(self) -> None:
        """Add an image without ground truth, so that each device has moments to gather."""
        self._keep(self.constants.new_zeros(2, 4))

    def compute(self) -> dict[str, float]:
        """Return the best value of each error, by name."""
        moments = self.moments if isinstance(self.moments, Tensor) else torch.cat(self.moments)
        moments = torch.cat([moments[:, 0, 1:], moments[:, 1, 2:].square()], 1)
        sums = constant_sums(self.constants, self.histogram, self.places, moments)
        means = sums / (moments[:, 0] > 0).sum()
        best = (means[:, i].max() if higher_is_better(name) else means[:, i].min() for i, name in enumerate(ERRORS))
        return dict(zip(ERRORS, (float(value) for value in best), strict=True))


def float32_from(bounds: Tensor, exclusive: bool = False) -> Tensor:
    """Return the smallest float32 number that is at least each float64 bound, or greater than it if exclusive."""
    rounded = bounds.float()
    short = rounded.double() <= bounds if exclusive else rounded.double() < bounds
    return torch.where(short, torch.nextafter(rounded, torch.full_like(rounded, torch.inf)), rounded)


def constant_sums(constants: Tensor, histogram: Tensor, places: Tensor, moments: Tensor) -> Tensor:
    """Return the sums over images of the errors of constant predictions, (C, 9) float64 in the order of `ERRORS`.

    Args:
        constants: (C,), in metres.
        histogram: (3, E + 1), sums of 1 / g, 1 and ln g over the pixels in each bin, divided by the pixels of an image.
        places: (7, C), the edges below which lie the pixels with g < c, with g < c f for each of the three factors f,
            and with g <= c / f.
        moments: (M, 5), sums of 1, ln g, g, (ln g)^2 and g^2 over the pixels of each of M images.
    """
    means = (moments / moments[:, :1])[moments[:, 0] > 0]
    below = histogram.cumsum(1)
    inverse, pixels, logs = below[:, places[0]]
    all_inverse, all_pixels, all_logs = below[:, -1]
    c, log_c = constants, constants.log()
    roots = torch.zeros(2, len(c), dtype=torch.float64, device=c.device)
    for part in means.split(CHUNK):
        roots[0] += root_mean_square(c, part[:, 2], part[:, 4])
        roots[1] += root_mean_square(log_c, part[:, 1], part[:, 3])
    silog = 100 * (means[:, 3] - means[:, 1].square()).clamp_min(0).sqrt().sum()
    return torch.stack(
        [
            c * (2 * inverse - all_inverse) - (2 * pixels - all_pixels),
            means[:, 2].sum() - 2 * c * all_pixels + c.square() * all_inverse,
            *roots,
            (log_c * (2 * pixels - all_pixels) - (2 * logs - all_logs)) / math.log(10),
            silog.expand_as(c),
            *(below[1, places[1 + k]] - below[1, places[4 + k]] for k in range(len(FACTORS))),
        ],
        dim=1,
    )


def root_mean_square(x: Tensor, mean: Tensor, mean_square: Tensor) -> Tensor:
    """Return the sum over images of sqrt(mean (x - y)^2), (C,), from the moments of y, (M,), for each x, (C,)."""
    squares = x.square() - 2 * x * mean[:, None] + mean_square[:, None]
    return squares.clamp_min_(0).sqrt_().sum(0)
