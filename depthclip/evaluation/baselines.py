"""Baselines: random depth, constants, and the median depth map of the training set."""

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
    from depthclip.data.module import DepthDataModule

BUILT_IN = ("random", "training constant", "training median map", "best constant (oracle)")


class Baseline:
    """The base class of further baselines; a subclass defines `name`, the name of its table row, and `predict`."""

    name: str

    def prepare(self, data: "DepthDataModule") -> None:
        """Prepare for the test images of a data module; `test` calls this before the first image.

        Args:
            data: the data module, whose `sets["test"]` holds the images in the order of `Item.index`.
        """

    def predict(self, item: "Item") -> Tensor:
        """Return the depth of the view of an image, (h, w) in metres, at any resolution.

        Args:
            item: the image and its ground truth.
        """
        raise NotImplementedError


def check_baselines(baselines: Sequence[Baseline], heads: Collection[str]) -> None:
    """Check that each baseline has a name, and that no two rows have the same name.

    Args:
        baselines: the baselines of the user.
        heads: the names of the head and its variants.

    Raises:
        InputError: if a name is missing or occurs twice.
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
    """Return uniformly distributed depth, (H, W): the "lower bound" of the DepthCLIP paper.

    Args:
        size: (H, W).
        max_depth: upper bound of the depth, in metres; the lower bound is 0.
        index: index of the image, which seeds the generator.
    """
    return torch.rand(size, generator=torch.Generator().manual_seed(index)) * max_depth


class BestConstant(Metric):
    """The errors of the constant depth that is best on the scored images, chosen for each error separately: an oracle.

    The errors of each constant of a logarithmic grid are exact.

    Args:
        min_depth: the smallest constant, in metres.
        max_depth: the largest constant, in metres.
        count: number of constants; neighbours differ by half a percent by default.
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

    def update(self, target: Tensor) -> None:
        """Add the ground truth of an image; an image without scored pixels is skipped.

        Args:
            target: (N,), the depths of the scored pixels in metres.
        """
        if len(target):
            self.sums += constant_errors(self.constants.to(target.device), target)
            self.images += 1

    def compute(self) -> dict[str, float]:
        """Return the best value of each error, by name."""
        means = self.sums / self.images
        best = (means[:, i].max() if higher_is_better(name) else means[:, i].min() for i, name in enumerate(ERRORS))
        return dict(zip(ERRORS, (float(value) for value in best), strict=True))


def constant_errors(constants: Tensor, target: Tensor) -> Tensor:
    """Return the errors of constant predictions, (C, 9) float64 in the order of `ERRORS`.

    Sums over the pixels below a constant are read from cumulative sums over the sorted target, in O((C + N) log N).

    Args:
        constants: (C,), in metres.
        target: (N,), in metres.
    """
    g = target.double().sort().values
    c, n = constants.double(), len(g)
    log_c, log_g = c.log(), g.log()
    below = torch.searchsorted(g, c)

    def absolute(at: Tensor, values: Tensor, weight: Tensor) -> Tensor:
        """Return the mean of |at * weight - values|, where values < at * weight for the first `below` pixels."""
        values_sum, weight_sum = (F.pad(x.cumsum(0), (1, 0)) for x in (values, weight))
        signed = at * (2 * weight_sum[below] - weight_sum[-1]) - (2 * values_sum[below] - values_sum[-1])
        return signed / n

    def share(factor: float) -> Tensor:
        """Return the share of pixels with max(c / g, g / c) < factor."""
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
    """Baselines fitted to training depths.

    Args:
        constant: the median depth of all pixels, in metres.
        median_map: (h, w), the median depth at each position of the image, in metres.
    """

    constant: float
    median_map: Tensor

    def at(self, size: tuple[int, int]) -> Tensor:
        """Return the constant and the median map, resized to the size of a target, (2, H, W)."""
        across = F.interpolate(self.median_map[None, None], size, mode="bilinear", align_corners=False)[0]
        return torch.cat([torch.full_like(across, self.constant), across])


def fit_baselines(depths: Iterable[Tensor], size: tuple[int, int] = (60, 80)) -> Fitted:
    """Fit the constant and the per-pixel median map to training depths.

    Positions without a valid depth take the constant.

    Args:
        depths: depth maps, each (H, W) in metres, 0 = invalid; sizes may differ.
        size: (h, w) of the median map.

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
