"""Scale bars, and depth maps beside a scale bar in metres."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import from_numpy

from depthclip.pictures.colours import DEPTH_MAP, colour_depth, depth_range
from depthclip.pictures.page import Page
from depthclip.pictures.text import SMALL, width_of

GAP, BAR, TICK = 0.06, 0.1, 0.05  # inches: before a vertical bar, of a bar, between bar and ticks
ROOM = GAP + BAR + TICK + width_of("0.25 m") + 0.04  # of a vertical bar with its ticks
BELOW = BAR + TICK + 0.2  # of a horizontal bar with its ticks
SIZE = 4.0  # height of a picture in inches, which determines the size of the text beside it
LEAST = 100  # pixels per inch


def metres(value: float) -> str:
    """Return a depth with its unit, in three digits: `1.25 m`."""
    return f"{value:.3g} m" if abs(value) < 999.5 else f"{value:.0f} m"


def percent(value: float) -> str:
    """Return a relative error as a percentage with its sign."""
    return f"{100 * value:+.0f} %".replace("-", "\N{MINUS SIGN}") if value else "0"


def share(value: float) -> str:
    """Return a weight."""
    return f"{value:.2g}"


def add_scale(
    axes: Axes, low: float, high: float, colours: str, unit: Callable[[float], str], upright: bool = True
) -> None:
    """Turn axes into a scale bar whose ticks have their unit.

    Args:
        axes: axes of the size of the bar; ticks are to the right of an upright bar, and below a horizontal one.
        low: first value.
        high: last value.
        colours: name of the colour map.
        unit: function that writes a value with its unit.
        upright: whether the values go up rather than to the right.
    """
    width, height = axes.bbox.width / axes.figure.dpi, axes.bbox.height / axes.figure.dpi
    shades = np.linspace(0, 1, 256)[:, None] if upright else np.linspace(0, 1, 256)[None]
    extent = (0, 1, low, high) if upright else (low, high, 0, 1)
    axes.imshow(shades, cmap=colours, norm=Normalize(0, 1), aspect="auto", origin="lower", extent=extent)
    widest = max(width_of(unit(each)) for each in (low, high, (low + high) / 2 + 0.01 * (high - low)))
    # a label takes two lines, or one and a half times its width
    most = height / (2.2 * SMALL / 72) if upright else width / (1.5 * widest)
    ticks = MaxNLocator(max(1, min(5, int(most))), steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    slack = 1e-6 * (high - low)
    ticks = [float(each) for each in ticks if low - slack <= each <= high + slack]
    (axes.set_yticks if upright else axes.set_xticks)(ticks, [unit(each) for each in ticks])
    if upright:
        axes.yaxis.tick_right()
    axes.tick_params(labelsize=SMALL, length=2.5, width=0.5, pad=2)


def with_scale(picture: np.ndarray, near: float, far: float) -> np.ndarray:
    """Return a coloured depth map with a scale bar in metres to its right.

    The map stays as it is in the upper left corner. The text grows with the map.

    Args:
        picture: (H, W, 3) uint8, as `colour_depth` returns it.
        near: depth of the first colour in metres.
        far: depth of the last colour in metres.

    Returns:
        (H', W', 3) uint8, with W' > W, and H' > H for a map that is too low for the ticks.
    """
    height = picture.shape[0]
    dpi = max(LEAST, height / SIZE)
    tall = max(height, round(1.2 * LEAST))
    page = Page(tall / dpi, ROOM + 0.1)
    inset = 0.09  # half a line of text
    add_scale(page.axes(0.08, inset, BAR, page.height - 2 * inset), near, far, DEPTH_MAP, metres)
    page.figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(page.figure)
    canvas.draw()
    strip = np.asarray(canvas.buffer_rgba())[:tall, :, :3]
    whole = np.full((tall, picture.shape[1] + strip.shape[1], 3), 255, np.uint8)
    whole[:height, : picture.shape[1]] = picture
    whole[: strip.shape[0], picture.shape[1] :] = strip
    return whole


def picture_of_depth(depth: np.ndarray, side: int = 480) -> bytes:
    """Return a picture of a depth map with a scale bar in metres, as the content of a PNG file.

    Args:
        depth: (H, W) in metres; 0 or less and NaN are drawn in grey.
        side: length of the longer side of the map in the picture, in pixels; the map is not enlarged.
    """
    height, width = depth.shape
    reduced = min(1.0, side / max(height, width))
    size = (max(1, round(width * reduced)), max(1, round(height * reduced)))
    small = np.asarray(Image.fromarray(np.nan_to_num(depth, nan=0.0)).resize(size, Image.Resampling.NEAREST))
    scale = depth_range(from_numpy(small.copy()))
    content = BytesIO()
    Image.fromarray(with_scale(colour_depth(small, *scale), *scale)).save(content, "PNG")
    return content.getvalue()
