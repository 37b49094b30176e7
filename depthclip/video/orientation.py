"""Turn the frames of a video as its display matrix says, which phones write in place of turning the pixels."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


def matrix_of(frame: "VideoFrame") -> np.ndarray:
    """Return the display matrix of a frame, ((a, b), (c, d)) as in libavutil/display.h; the unit matrix if it has none.

    It maps the pixel (x, y) to (a x + c y, b x + d y), up to a shift.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.eye(2)
    return np.frombuffer(memoryview(data)[:36], np.int32).reshape(3, 3)[:2, :2] / 65536


def shown(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return a frame (H, W, 3) as players show it, turned by the nearest multiple of 90 degrees and mirrored.

    Args:
        pixels: frame as it is stored.
        matrix: display matrix, see `matrix_of`.
    """
    (a, b), (c, d) = matrix
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    across, down = (c, b) if transposed else (a, d)
    turned = pixels.swapaxes(0, 1) if transposed else pixels
    return np.ascontiguousarray(turned[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
