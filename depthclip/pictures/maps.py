"""Draw images and maps into axes of a given size."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from torch import Tensor
from torch.nn import functional as F

HATCH = "/////"  # of pixels without a value
SPARSE = 0.25  # share of valid pixels below which they are enlarged
FINEST = 250  # cells along the longer side of an enlarged map


def draw_image(axes: Axes, rgb: Tensor) -> AxesImage:
    """Draw an image (3, h, w) in [0, 1], which fills the axes."""
    return axes.imshow(rgb.permute(1, 2, 0).numpy(), aspect="auto")


def draw_map(axes: Axes, values: np.ndarray, low: float, high: float, colours: str, smooth: bool = True) -> AxesImage:
    """Draw a map (h, w), which fills the axes; pixels without a value are hatched.

    Args:
        axes: axes to draw into.
        values: the values, NaN where there is none.
        low: value of the first colour.
        high: value of the last colour.
        colours: name of the colour map.
        smooth: whether a map that is reduced is averaged; otherwise the cells of a coarse map have sharp edges.
    """
    hatched = axes.patch
    hatched.set(facecolor="0.95", edgecolor="0.6", linewidth=0, hatch=HATCH)
    masked = np.ma.masked_invalid(values)
    way = "auto" if smooth else "nearest"
    return axes.imshow(masked, vmin=low, vmax=high, cmap=colours, aspect="auto", interpolation=way)


def visible(target: Tensor, *maps: Tensor) -> tuple[np.ndarray, ...]:
    """Return a target and maps of its size, NaN where the target is invalid; scattered pixels are enlarged.

    The points of a laser would vanish in a small picture. Each cell has the values of the nearest pixel in it.

    Args:
        target: (H, W) metres, 0 = invalid.
        maps: (H, W) each.
    """
    valid = target > 0
    if 0 < valid.float().mean() < SPARSE and max(target.shape) > FINEST:
        rows, columns = (max(1, round(FINEST * side / max(target.shape))) for side in target.shape)
        nearness = torch.where(valid, 1 / target.clamp_min(1e-6), 0)[None]
        closest, places = F.adaptive_max_pool2d(nearness, (rows, columns), return_indices=True)
        target, *maps = (each.flatten()[places[0]] for each in (target, *maps))  # type: ignore[assignment]
        valid = closest[0] > 0
    return tuple(torch.where(valid, each, torch.nan).numpy() for each in (target, *maps))
