"""Pictures of samples of a data set: image, view of the model, and depth."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from depthclip.atomic import open_atomic
from depthclip.data.samples import Sample
from depthclip.figure_files import write_figure
from depthclip.pictures.colours import DEPTH_MAP, depth_range
from depthclip.pictures.maps import draw_image, draw_map, visible
from depthclip.pictures.page import MARGIN, WIDTH, Page
from depthclip.pictures.scale import BAR, GAP, ROOM, add_scale, metres
from depthclip.pictures.text import fit, height_of
from depthclip.protocol import View

BETWEEN = 0.1  # inches between maps
COLUMN = (WIDTH - 2 * MARGIN - BETWEEN - ROOM) / 2
TALLEST = 5.0  # inches
NAME = height_of(1) + 0.05


def draw_samples(shown: Sequence[Sample], view: View, path: Path) -> None:
    """Write a picture of samples: the image, with a frame around the view of the model, and the depth."""
    ratios = [sample.image.shape[-2] / sample.image.shape[-1] for sample in shown]
    heights = [max(0.4, min(COLUMN * ratio, TALLEST)) for ratio in ratios]
    page, top = Page(sum(heights) + len(shown) * NAME + 2 * MARGIN), MARGIN
    for sample, height, ratio in zip(shown, heights, ratios, strict=True):
        width = min(COLUMN, height / ratio)
        page.text(MARGIN, top + NAME - 0.03, fit(sample.name, WIDTH - 2 * MARGIN), down="bottom")
        top += NAME
        left = page.axes(MARGIN, top, width, height)
        draw_image(left, sample.image)
        draw_view(left, view, *sample.image.shape[-2:])
        if sample.depth is not None:
            scale = depth_range(sample.depth)
            right = page.axes(MARGIN + width + BETWEEN, top, width, height)
            draw_map(right, visible(sample.depth)[0], *scale, DEPTH_MAP)
            bar = page.axes(MARGIN + 2 * width + BETWEEN + GAP, top, BAR, height)
            add_scale(bar, *scale, DEPTH_MAP, metres)
        top += height
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(path) as file:
        write_figure(page.figure, file, "png")


def draw_view(axes: Axes, view: View, height: int, width: int) -> None:
    """Draw a frame around the part of an image that the model sees, unless the view does not fit the image."""
    try:
        box = view.box(height, width)
    except ValueError:  # reported as unreadable
        return
    axes.add_patch(Rectangle((box.left, box.top), box.size[1], box.size[0], fill=False, color="white"))
