"""The panel: where the depth of some images comes from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from depthclip.atomic import open_atomic
from depthclip.figure_files import write_figure
from depthclip.pictures.colours import DEPTH_MAP, ERROR_MAP, SPREAD_MAP, depth_range, error_limit, top_of
from depthclip.pictures.maps import draw_image, draw_map, visible
from depthclip.pictures.page import MARGIN, WIDTH, Page
from depthclip.pictures.scale import BAR, BELOW, GAP, ROOM, add_scale, metres, percent
from depthclip.pictures.text import LARGE, fit, height_of
from depthclip.pictures.words import Words

if TYPE_CHECKING:  # data sets have pictures too, and do not know of heads
    from depthclip.shown import Shown

BETWEEN = 0.07  # inches between maps
TALLEST = 1.1  # height of a map as a multiple of the width of its column
MOST_WIDTH, LOWEST = 2.4, 0.3  # inches, of a map
NARROWEST = 3.0  # inches, of a panel
TITLE, NAME = height_of(1, LARGE) + 0.02, height_of(1) + 0.03


def panel(samples: Sequence["Shown"], words: Sequence[str], path: Path) -> None:
    """Draw a panel, see `draw_panel`, and write it as PNG, PDF or SVG, as the suffix of the path says."""
    figure = draw_panel(samples, words)
    with open_atomic(path) as file:
        write_figure(figure, file, path.suffix[1:])


def draw_panel(samples: Sequence["Shown"], words: Sequence[str]) -> Figure:
    """Draw a row of maps for each sample, and below them a row of the weights of each word.

    The maps are the image, the ground truth, the prediction and its relative error, and the spread, which is the
    standard deviation of the depth. Samples without ground truth have neither truth nor error, and heads without a
    spread have no spread. All maps of a sample have the same size.

    Args:
        samples: images, of whose depth maps the first is drawn.
        words: labels of the K weights.
    """
    judged = any(one.target is not None for one in samples)
    spreads = any(one.spread is not None for one in samples)
    titles = ["image", *(["ground truth"] if judged else []), "prediction"]
    titles += [*(["relative error"] if judged else []), *(["spread"] if spreads else [])]
    free = WIDTH - 2 * MARGIN - ROOM - BETWEEN * (len(titles) - 1)
    sizes = [drawn_size(one, min(free / len(titles), MOST_WIDTH)) for one in samples]
    column = max(width for width, _ in sizes)
    lefts, right = {}, MARGIN
    for title in titles:
        lefts[title] = right
        right += column + BETWEEN + (ROOM if title == "prediction" else 0)
    weights = Words(samples, words)
    top = MARGIN + TITLE
    legend = top + sum(height + NAME for _, height in sizes) + BETWEEN
    below = legend + (BELOW + 2 * MARGIN if len(titles) > 2 else 0)
    page = Page(below + weights.height + MARGIN, max(right + MARGIN - BETWEEN, weights.width, NARROWEST))
    for title, place in lefts.items():
        page.text(place + column / 2, MARGIN + 0.13, title, "center", "baseline", LARGE)
    limit, widest = _limits(samples)
    for one, (width, height) in zip(samples, sizes, strict=True):
        page.text(MARGIN, top + NAME - 0.03, fit(one.name, page.width - 2 * MARGIN), down="bottom")
        top += NAME
        axes = {t: page.axes(place + (column - width) / 2, top, width, height) for t, place in lefts.items()}
        _draw_row(axes, one, limit, widest)
        scale = page.axes(lefts["prediction"] + (column + width) / 2 + GAP, top, BAR, height)
        add_scale(scale, *_range_of(one), DEPTH_MAP, metres)
        top += height
    length = 0.7 * column
    if judged:
        bar = page.axes(lefts["relative error"] + (column - length) / 2, legend, length, BAR)
        add_scale(bar, -limit, limit, ERROR_MAP, percent, upright=False)
    if spreads:
        bar = page.axes(lefts["spread"] + (column - length) / 2, legend, length, BAR)
        add_scale(bar, 0, widest, SPREAD_MAP, metres, upright=False)
    weights.draw(page, below)
    return page.figure


def drawn_size(one: "Shown", column: float) -> tuple[float, float]:
    """Return the width and the height in inches at which a sample is drawn.

    Args:
        one: the sample.
        column: width of the column in inches; very high images are narrower, and very wide ones are stretched.
    """
    ratio = one.rgb.shape[1] / one.rgb.shape[2]
    height = min(column * ratio, TALLEST * column)
    return height / ratio, max(height, LOWEST)


def _limits(samples: Sequence["Shown"]) -> tuple[float, float]:
    """Return the largest relative error and spread of the colours."""
    errors = [_judged(one.target, one.depth[0])[1] for one in samples if one.target is not None]
    return error_limit(errors), top_of(one.spread.numpy() for one in samples if one.spread is not None)


def _range_of(one: "Shown") -> tuple[float, float]:
    return depth_range(one.depth[0]) if one.target is None else depth_range(one.target, one.depth[0])


def _judged(target: Tensor, depth: Tensor) -> tuple[np.ndarray, ...]:
    """Return the ground truth and the relative error, NaN where the ground truth is invalid."""
    return visible(target, depth / target.clamp_min(1e-6) - 1)


def _draw_row(axes: Mapping[str, Axes], one: "Shown", limit: float, widest: float) -> None:
    near, far = _range_of(one)
    draw_image(axes["image"], one.rgb)
    draw_map(axes["prediction"], one.depth[0].numpy(), near, far, DEPTH_MAP)
    if one.target is not None:
        target, error = _judged(one.target, one.depth[0])
        draw_map(axes["ground truth"], target, near, far, DEPTH_MAP)
        draw_map(axes["relative error"], error, -limit, limit, ERROR_MAP)
    if "spread" in axes:
        spread = np.full((1, 1), np.nan) if one.spread is None else one.spread.numpy()
        draw_map(axes["spread"], spread, 0, widest, SPREAD_MAP)
