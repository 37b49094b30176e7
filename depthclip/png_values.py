"""Depth as the values of a 16-bit PNG."""

import numpy as np

SCALES = (1000, 500, 256, 100, 50, 20, 10, 5, 2, 1)  # values per metre
LARGEST = 65535


def scale_for(farthest: float) -> float:
    """Return the values per metre of a 16-bit PNG that holds depths up to `farthest` metres."""
    return next((scale for scale in SCALES if farthest * scale <= LARGEST), LARGEST / max(farthest, 1e-6))


def to_png_values(depth: np.ndarray) -> tuple[np.ndarray, float]:
    """Return depth (H, W) in metres as 16-bit values, 0 = invalid, and the values per metre."""
    scale = scale_for(float(depth.max()))
    # a valid depth that rounds to 0 is stored as 1
    values = np.where(depth > 0, np.clip((depth * scale).round(), 1, LARGEST), 0)
    return values.astype(np.uint16), scale
