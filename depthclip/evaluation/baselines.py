"""Baselines: random depth, constants, and the median depth map of the training set."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from depthclip.accelerator import sent
from depthclip.checks import brief
from depthclip.errors import InputError
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
        """Return the depth of the view of an image, (h, w) in metres and finite, at any resolution.

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


def predictions_of(baselines: Iterable[Baseline], item: "Item") -> Iterator[Tensor]:
    """Yield the depth of each baseline for an image, (1, h, w) float32 on the device of its ground truth.

    Values that are not finite become NaN, so that no image waits for a check; `test` raises at the end if one of them
    is scored.

    Args:
        baselines: the baselines of the user.
        item: the image and its ground truth.

    Raises:
        InputError: if a depth is no tensor (h, w) of real numbers.
    """
    for baseline in baselines:
        depth = baseline.predict(item)
        if not isinstance(depth, Tensor) or depth.ndim != 2 or not depth.numel() or depth.is_complex():
            found = f"a tensor {tuple(depth.shape)} of {depth.dtype}" if isinstance(depth, Tensor) else brief(depth)
            raise InputError(
                f"the baseline {baseline.name!r} returned {found} for {item.name}; return a tensor (h, w) of depths in "
                "metres"
            )
        depth = depth.to(item.target)
        yield depth.masked_fill(~depth.isfinite(), math.nan)[None]


def random_depth(
    size: tuple[int, ...], max_depth: float | Tensor, index: int, device: torch.device | None = None
) -> Tensor:
    """Return uniformly distributed depth: the "lower bound" of the DepthCLIP paper.

    The numbers come from the generator of the CPU, so that all devices score the same depth.

    Args:
        size: shape of the depth, such as (H, W).
        max_depth: upper bound of the depth, in metres; the lower bound is 0.
        index: index of the image, which seeds the generator.
        device: device of the result; the CPU if None.
    """
    uniform = torch.rand(size, generator=torch.Generator().manual_seed(index))
    return (uniform if device is None else sent(uniform, device)) * max_depth


class Fitted(NamedTuple):
    """Baselines fitted to training depths.

    Args:
        constant: the median depth of all pixels, in metres.
        median_map: (h, w), the median depth at each position of the image, in metres.
    """

    constant: float
    median_map: Tensor

    def to(self, device: torch.device) -> "Fitted":
        """Return the baselines on a device."""
        return Fitted(self.constant, self.median_map.to(device))

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
