"""What a method has to beat: random depth, one constant, and the median map of the training set."""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from depthclip.errors import InputError
from depthclip.evaluation.metrics import ERRORS, higher_is_better
from depthclip.protocol import median

if TYPE_CHECKING:
    from depthclip.data.batches import Item

BUILT_IN = ("random", "training constant", "training median map", "best constant (oracle)")


class Baseline:
    """A baseline beside those of the package; a subclass defines `name` and `predict`."""

    name: str

    def predict(self, item: "Item") -> Tensor:
        """Return the depth of the part of an image that the model sees, (h, w) in metres, at any size.

        Args:
            item: the image and its ground truth.
        """
        raise NotImplementedError


def check_baselines(baselines: Sequence[Baseline], heads: Collection[str]) -> None:
    """Raise if a baseline has no name, or the name of another row.

    Args:
        baselines: the user's baselines.
        heads: names of the head and its variants.

    Raises:
        InputError: naming the baseline.
    """
    taken = {*BUILT_IN, *heads}
    for baseline in baselines:
        name = getattr(baseline, "name", None)
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise InputError(
                f"baselines: {type(baseline).__name__} has the name {name!r}; set its attribute `name` to printable "
                "text"
            )
        if name in taken:
            raise InputError(f"baselines: the name {name!r} of {type(baseline).__name__} is taken; choose another name")
        taken.add(name)


def random_depth(size: tuple[int, int], max_depth: float, index: int) -> Tensor:
    """Uniform depth from 0 to max_depth metres for each pixel, (H, W): the paper's "lower bound", seeded by image."""
    return torch.rand(size, generator=torch.Generator().manual_seed(index)) * max_depth


class BestConstant(Metric):
    """The constant depth that is best on the very images it is scored on, for each error by itself: an oracle.

    Every constant of a fine grid is scored on every image, exactly, by sorting the truth once.

    Args:
        min_depth: the smallest constant, in metres.
        max_depth: the largest, in metres.
        count: how many are tried, at equal ratios; the default steps by half a percent.
    """

    full_state_update = False

    def __init__(self, min_depth: float = 0.1, max_depth: float = 100.0, count: int = 1400) -> None:
        super().__init__()
        grid = torch.logspace(math.log10(min_depth), math.log10(max_depth), count, dtype=torch.float64)
        self.constants: Tensor
        self.sums: Tensor
        self.images: Tensor
        self.register_buffer("constants", grid, persistent=False)
        self.add_state("sums", default=torch.zeros(count, len(ERRORS), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, truth: Tensor) -> None:
        """Adds the depths (N,) in metres of one image's pixels that count; none at all is skipped."""
        if len(truth):
            self.sums += constant_errors(self.constants.to(truth.device), truth)
            self.images += 1

    def compute(self) -> dict[str, float]:
        """The best value of each error."""
        means = self.sums / self.images
        best = (means[:, i].max() if higher_is_better(name) else means[:, i].min() for i, name in enumerate(ERRORS))
        return dict(zip(ERRORS, (float(value) for value in best), strict=True))


def constant_errors(constants: Tensor, truth: Tensor) -> Tensor:
    """The errors of C constants on depths (N,), (C, 9) float64 in the order of `ERRORS`.

    Sums over the pixels below a constant come from cumulative sums over the sorted truth: a constant costs a look-up.
    """
    g = truth.double().sort().values
    c, n = constants.double(), len(g)
    log_c, log_g = c.log(), g.log()
    below = torch.searchsorted(g, c)

    def absolute(at: Tensor, values: Tensor, weight: Tensor) -> Tensor:
        """Mean |at * weight - values| where values < at * weight holds for the `below` first pixels."""
        values_sum, weight_sum = (F.pad(x.cumsum(0), (1, 0)) for x in (values, weight))
        signed = at * (2 * weight_sum[below] - weight_sum[-1]) - (2 * values_sum[below] - values_sum[-1])
        return signed / n

    def share(factor: float) -> Tensor:
        return (torch.searchsorted(g, c * factor) - torch.searchsorted(g, c / factor, right=True)).double() / n

    mean_log, mean_log_square = log_g.mean(), log_g.square().mean()
    log_square = (log_c.square() - 2 * log_c * mean_log + mean_log_square).clamp_min(0)
    ones = torch.ones_like(g)
    return torch.stack(
        [
            absolute(c, ones, 1 / g),
            g.mean() - 2 * c + c.square() * (1 / g).mean(),
            (c.square() - 2 * c * g.mean() + g.square().mean()).clamp_min(0).sqrt(),
            log_square.sqrt(),
            absolute(log_c, log_g, ones) / math.log(10),
            (100 * (mean_log_square - mean_log.square()).clamp_min(0).sqrt()).expand_as(c),
            *(share(1.25**power) for power in (1, 2, 3)),
        ],
        dim=1,
    )


class Fitted(NamedTuple):
    """Baselines fitted on training depths.

    Args:
        constant: the median depth of all pixels, in metres.
        median_map: (h, w), the median depth of each place in the image, in metres.
    """

    constant: float
    median_map: Tensor

    def at(self, size: tuple[int, int]) -> Tensor:
        """The constant and the median map at the size of a truth, (2, H, W)."""
        across = F.interpolate(self.median_map[None, None], size, mode="bilinear", align_corners=False)[0]
        return torch.cat([torch.full_like(across, self.constant), across])


def fit_baselines(depths: Iterable[Tensor], size: tuple[int, int] = (60, 80)) -> Fitted:
    """Fit the constant and the per-pixel median map to training depths, each (H, W) in metres, 0 = invalid.

    The map is kept on a grid of `size`, whatever the sizes of the maps; a place that none measured takes the constant.

    Raises:
        InputError: if there is no valid depth.
    """
    grids = [F.interpolate(depth[None, None], size, mode="nearest-exact")[0, 0] for depth in depths]
    stack = torch.stack(grids) if grids else torch.zeros(1, *size)
    stack = torch.where(stack > 0, stack, math.nan)
    constant = float(median(stack.flatten(), 0))
    if math.isnan(constant):
        raise InputError("the training set has no valid depth to fit baselines to; check the data and data.scoring")
    return Fitted(constant, median(stack, 0).nan_to_num(constant))
