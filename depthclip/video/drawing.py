"""The frames of the result: the image, its depth in colours, and a scale bar in metres."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from depthclip.pictures import colour_depth

LARGEST = 1280  # pixels of the longer side of each picture; many players cannot decode much wider videos
GAP = 4
DOTS = 100  # per inch


class Panel:
    """Draw frames beside their depth, with one scale of colours and one scale bar for all of them.

    Args:
        size: (H, W) of the frames in pixels.
        scale: the depths in metres of the first and last colour.

    Attributes:
        picture: (height, width) of each of both pictures, even numbers, reduced if the frames are large.
        size: (height, width) of the result, even numbers.
    """

    def __init__(self, size: tuple[int, int], scale: tuple[float, float]) -> None:
        share = min(1.0, LARGEST / max(size))
        self.scale = scale
        self.picture = even(size[0] * share), even(size[1] * share)
        self.bar = vertical_scale(self.picture[0], scale)
        self.size = self.picture[0], 2 * (self.picture[1] + GAP) + self.bar.shape[1]

    def draw(self, rgb: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Return a frame beside its depth and the scale bar, (height, width, 3) uint8.

        Args:
            rgb: (H, W, 3) uint8.
            depth: metres, of the size `picture`.
        """
        height, width = self.picture
        small = rgb if rgb.shape[:2] == self.picture else np.asarray(Image.fromarray(rgb).resize((width, height)))
        gap = np.full((height, GAP, 3), 255, np.uint8)
        return np.hstack([small, gap, colour_depth(depth, *self.scale), gap, self.bar])


def even(side: float) -> int:
    """Return the even number that is nearest to a length, at least 2; yuv420p has no others."""
    return max(2, 2 * round(side / 2))


def vertical_scale(height: int, scale: tuple[float, float]) -> np.ndarray:
    """Return a vertical bar of colours with labels in metres, (height, W, 3) uint8, near at the bottom.

    Args:
        height: height in pixels; the size of the letters follows from it.
        scale: the depths in metres of the first and last colour.
    """
    near, far = scale
    letters = min(max(height / 36, 9), 30)  # pixels
    width, edge = even(letters * 5), letters / height
    figure = Figure(figsize=(width / DOTS, height / DOTS), dpi=DOTS, facecolor="white")
    axis = figure.add_axes((0.08, edge, 0.2, max(1 - 2 * edge, 0.1)))
    colours = colour_depth(np.linspace(far, near, 256, dtype=np.float32)[:, None], near, far)
    axis.imshow(colours, extent=(0, 1, near, far), aspect="auto")
    axis.set_xticks([])
    axis.yaxis.tick_right()
    axis.locator_params(axis="y", nbins=min(max(int(height / letters / 4), 1), 6))
    axis.yaxis.set_major_formatter("{x:g} m")
    axis.tick_params(labelsize=letters * 72 / DOTS, length=letters / 5, pad=letters / 5)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
