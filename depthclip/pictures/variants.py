"""The depths of several heads below each other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from depthclip.atomic import open_atomic
from depthclip.figure_files import write_figure
from depthclip.pictures.colours import DEPTH_MAP, depth_range
from depthclip.pictures.maps import draw_image, draw_map, visible
from depthclip.pictures.page import MARGIN, WIDTH, Page
from depthclip.pictures.scale import BAR, BELOW, add_scale, metres
from depthclip.pictures.text import fit, height_of, wrap

if TYPE_CHECKING:  # data sets have pictures too, and do not know of heads
    from depthclip.shown import Shown

BETWEEN = 0.06  # inches between maps
NAMES = 1.5  # inches, of the names of the rows
COLUMNS = 5  # images beside each other
MOST_WIDTH, TALLEST = 1.8, 1.1  # inches, of a map; its height as a multiple of the width


def compare_heads(samples: Sequence["Shown"], names: Sequence[str], path: Path) -> None:
    """Draw the depths of several heads, see `draw_heads`, and write them as PNG, PDF or SVG, as the suffix says."""
    figure = draw_heads(samples, names)
    with open_atomic(path) as file:
        write_figure(figure, file, path.suffix[1:])


def only(samples: Sequence["Shown"], number: int) -> list["Shown"]:
    """Return samples with the depth of one of the heads."""
    return [replace(one, depth=one.depth[number : number + 1]) for one in samples]


def title_of(name: str, words: Sequence[str]) -> str:
    """Return the name of a head and the range of its words."""
    return f"{name} ({len(words)} words, {words[0]} to {words[-1]})" if len(words) > 1 else name


def draw_heads(samples: Sequence["Shown"], names: Sequence[str]) -> Figure:
    """Draw a column for each sample: its image, ground truth, and the depth of each head, with the name of each row.

    All depths of a sample have one scale of colours, that of its ground truth. More than five samples are drawn in
    several blocks.

    Args:
        samples: images with V depth maps each.
        names: names of the V heads.
    """
    count = min(len(samples), COLUMNS)
    column = min((WIDTH - 2 * MARGIN - NAMES) / count - BETWEEN, MOST_WIDTH)
    blocks = [samples[start : start + count] for start in range(0, len(samples), count)]
    tallest = [min(max(one.rgb.shape[1] / one.rgb.shape[2] for one in block), TALLEST) * column for block in blocks]
    heights = [max(each, height_of(2)) for each in tallest]
    rows = len(names) + 2
    title = height_of(1) + 0.03
    tall = [title + rows * (height + BETWEEN) + BELOW + MARGIN for height in heights]
    page, top = Page(sum(tall) + MARGIN, 2 * MARGIN + NAMES + count * (column + BETWEEN)), MARGIN
    for block, height, needed in zip(blocks, heights, tall, strict=True):
        first, step = top + title, height + BETWEEN
        labels = ["image", "ground truth", *names]
        for row, label in enumerate(labels):
            lines = max(1, int(height / height_of(1)))
            text = wrap(label, NAMES - 0.1, min(lines, 5))
            page.text(MARGIN + NAMES - 0.08, first + row * step + height / 2, text, "right", "center")
        for number, one in enumerate(block):
            width = min(column, height * one.rgb.shape[2] / one.rgb.shape[1])
            tall_one = width * one.rgb.shape[1] / one.rgb.shape[2]
            left = MARGIN + NAMES + number * (column + BETWEEN)
            page.text(left + column / 2, first - 0.03, fit(one.name, column), "center", "bottom")
            inset, down = left + (column - width) / 2, first + (height - tall_one) / 2
            axes = [page.axes(inset, down + row * step, width, tall_one) for row in range(rows)]
            scale = _draw_column(axes, one)
            bar = page.axes(left + 0.1 * column, first + rows * step, 0.8 * column, BAR)
            add_scale(bar, *scale, DEPTH_MAP, metres, upright=False)
        top += needed
    return page.figure


def _draw_column(axes: Sequence, one: "Shown") -> tuple[float, float]:
    """Draw the image, the ground truth and all depths of a sample, and return the range of their colours."""
    target = one.depth[0] * 0 if one.target is None else one.target
    scale = depth_range(target) if (target > 0).any() else depth_range(one.depth[0])
    draw_image(axes[0], one.rgb)
    draw_map(axes[1], visible(target)[0], *scale, DEPTH_MAP)
    for each, depth in zip(axes[2:], one.depth, strict=True):
        draw_map(each, depth.numpy(), *scale, DEPTH_MAP)
    return scale
