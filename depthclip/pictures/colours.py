"""Colour maps, and the range of depth that they show."""

import math
from collections.abc import Iterable

import numpy as np
from matplotlib import colormaps
from torch import Tensor

# all maps are perceptually uniform
DEPTH_MAP = "magma_r"  # near is bright
SPREAD_MAP = "cividis"
WEIGHT_MAP = "viridis"
ERROR_MAP = "RdBu_r"  # 0 is white
INVALID = 128  # grey value of pixels without depth
LIMITS = (0.1, 0.2, 0.5, 1.0)  # of relative errors


def colour_depth(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Return depth (H, W) in metres as a picture (H, W, 3) uint8: near bright, far dark, invalid (0) grey."""
    share = np.clip((depth - near) / max(far - near, 1e-6), 0, 1)
    # a table of 256 colours, since matplotlib's own look-up takes 32 bytes for each pixel of a photograph
    colours = (colormaps[DEPTH_MAP](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    picture = colours[np.minimum(share * 256, 255).astype(np.uint8)]
    picture[depth <= 0] = INVALID
    return picture


def depth_range(*maps: Tensor) -> tuple[float, float]:
    """Return the range of depth in metres without the outermost 2 % of some maps; (0, 1) if no pixel is valid."""
    valid = np.concatenate([m[m > 0].flatten().numpy() for m in maps])
    if not len(valid):
        return 0.0, 1.0
    near, far = np.percentile(valid, [1, 99])
    return float(near), float(max(far, near + 0.1))


def error_limit(errors: Iterable[np.ndarray]) -> float:
    """Return the relative error at which the colours of errors end: 10, 20, 50 or 100 %.

    Args:
        errors: maps of errors, NaN where there is none; at most 5 % of the pixels of each are beyond the limit, unless
            it is 100 %.
    """
    largest = [float(np.percentile(np.abs(each[~np.isnan(each)]), 95)) for each in errors if not np.isnan(each).all()]
    return next((limit for limit in LIMITS if max(largest, default=0) <= limit), LIMITS[-1])


def top_of(values: Iterable[np.ndarray]) -> float:
    """Return the value at which the colours of maps with values from 0 end, without the largest 1 % of each map.

    It is rounded up to two digits, and positive.
    """
    largest = max((float(np.nanpercentile(each, 99)) for each in values if not np.isnan(each).all()), default=0.0)
    if not largest > 0:
        return 1.0
    step = 10.0 ** (math.floor(math.log10(largest)) - 1)
    return math.ceil(largest / step - 1e-9) * step
