"""F1 score of depth edges."""

import math

import torch
from torch import Tensor

from depthclip.checks import check_count
from depthclip.errors import InputError
from depthclip.evaluation.measures import Measure, ScoredImage

LARGEST_RADIUS = 50  # pixels
THRESHOLDS = torch.linspace(0.05, 0.25, 10)  # relative steps of depth


class BoundaryF1(Measure):
    """Agreement of the depth edges of prediction and ground truth, as MoGe defines it.

    A pair of pixels at most `radius` apart is an edge at threshold t if the farther pixel is more than 1 + t times as
    far as the nearer. With the edges of the prediction P_t and of the ground truth G_t, directed from the nearer to the
    farther pixel, F1_t = 2 |P_t and G_t| / (|P_t| + |G_t|); the figure is the mean over ten thresholds from 0.05 to
    0.25, weighted by t. Pairs count only if both pixels count, and the nearer one lies at least `radius` pixels from
    the border of the part of the image that the model saw. A factor of depth changes no edge.

    Thresholds at which the ground truth has no edge are left out, so that exact depth scores 1; MoGe scores them 0.
    An image whose ground truth has no edge at all has no figure.

    Source: Wang et al., MoGe (arXiv 2410.19115) and MoGe-2 (arXiv 2507.02546); `boundary_f1` in `moge/test/metrics.py`
    of https://github.com/microsoft/MoGe.

    Args:
        radii: largest distances of the pixels of a pair, 1 to 50 pixels of the ground truth; one column for each.

    Raises:
        InputError: if a radius is out of range or occurs twice.
    """

    def __init__(self, radii: tuple[int, ...] = (1, 2, 3)) -> None:
        for radius in radii:
            check_count("radii: radius", radius, at_most=LARGEST_RADIUS, unit="pixels")
        if not radii or len(set(radii)) < len(radii):
            raise InputError(f"radii {radii!r} must be different numbers of pixels, such as [1, 2, 3]")
        self.radii = tuple(radii)
        self.names = tuple(f"boundary_f1 {radius} px" for radius in radii)
        self.higher = self.names

    def of(self, image: ScoredImage) -> Tensor:
        """Return the F1 score of each prediction by radius, (V, M); NaN where the ground truth has no edge."""
        maps = image.on_grid(torch.cat([image.target[None], image.prediction]))
        # comparisons with NaN are false, so that a pixel that does not count is never part of an edge
        logs = torch.where(image.mask, maps, math.nan).log()
        return torch.stack([boundary_f1(logs[1:], logs[0], radius) for radius in self.radii], 1)


def boundary_f1(prediction: Tensor, target: Tensor, radius: int) -> Tensor:
    """Return the F1 score of the edges of V predictions, (V,) float64; see `BoundaryF1`.

    Args:
        prediction: (V, h, w), logarithm of depth, NaN where a pixel does not count.
        target: (h, w), logarithm of the ground truth, NaN where a pixel does not count.
        radius: largest distance of the pixels of a pair, in pixels.
    """
    steps = THRESHOLDS.to(target).log1p()
    shape = (len(prediction), len(steps))
    in_target = torch.zeros(len(steps), dtype=torch.float64, device=target.device)
    in_prediction, in_both = in_target.new_zeros(shape), in_target.new_zeros(shape)
    for down, across in disc(radius):
        target_rise = rises(target, down, across, radius)
        edges = (target_rise > steps[0]).nonzero()[:, 0]
        target_rise = target_rise[edges]
        in_target += above(target_rise, steps)
        for row, each in enumerate(prediction):
            rise = rises(each, down, across, radius)
            in_prediction[row] += above(rise[rise > steps[0]], steps)
            in_both[row] += above(torch.minimum(rise[edges], target_rise), steps)
    scores = 2 * in_both / (in_prediction + in_target)
    weights = THRESHOLDS.to(in_target) * (in_target > 0)
    return (scores.nan_to_num() * weights).sum(1) / weights.sum()


def disc(radius: int) -> list[tuple[int, int]]:
    """Return the (down, across) offsets of the pixels at most `radius` away from a pixel, without (0, 0)."""
    steps = range(-radius, radius + 1)
    return [(y, x) for y in steps for x in steps if 0 < y * y + x * x <= radius * radius]


def rises(logs: Tensor, down: int, across: int, margin: int) -> Tensor:
    """Return how much log depth rises from each pixel to its neighbour at an offset, flattened.

    Args:
        logs: (h, w), logarithm of depth.
        down: offset of the neighbour in rows.
        across: offset of the neighbour in columns.
        margin: number of pixels to leave out at each border.
    """
    height, width = max(0, logs.shape[0] - 2 * margin), max(0, logs.shape[1] - 2 * margin)
    here, there = (
        logs[top : top + height, left : left + width]
        for top, left in ((margin, margin), (margin + down, margin + across))
    )
    return (there - here).flatten()


def above(values: Tensor, steps: Tensor) -> Tensor:
    """Return how many values exceed each of K ascending steps, (K,)."""
    passed = torch.bincount(torch.bucketize(values, steps), minlength=len(steps) + 1)
    return passed.flip(0).cumsum(0).flip(0)[1:]
