"""Pictures of samples of a data set: image, view of the model, and depth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from depthclip.atomic import open_atomic
from depthclip.data.samples import Sample
from depthclip.protocol import View


def draw_samples(shown: Sequence[Sample], view: View, path: Path) -> None:
    """Write a picture of samples: the image, with a frame around the view of the model, and the depth."""
    tallest = max(sample.image.shape[-2] / sample.image.shape[-1] for sample in shown)
    figure = Figure(figsize=(10, len(shown) * (4.5 * tallest + 0.3)), layout="constrained")
    rows = figure.subplots(len(shown), 2, squeeze=False)
    for (left, right), sample in zip(rows, shown, strict=True):
        height, width = sample.image.shape[-2:]
        left.imshow(sample.image.permute(1, 2, 0).numpy())
        left.set_title(sample.name, fontsize=7, parse_math=False)
        draw_view(left, view, height, width)
        if sample.depth is not None:
            draw_depth(right, sample.depth.numpy(), height, width)
        for axes in (left, right):
            axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(path) as file:
        figure.savefig(file, format="png", dpi=90)


def draw_depth(axes: Axes, depth: np.ndarray, height: int, width: int) -> None:
    """Draw a depth map in the pixels of its image."""
    rows, columns = np.nonzero(depth)
    # a laser grid spans the whole image, whatever its shape; sparse points are drawn larger than a pixel
    down, across = height / depth.shape[0], width / depth.shape[1]
    if len(rows) < 0.1 * depth.size:
        drawn: ScalarMappable = axes.scatter(columns * across, rows * down, s=0.5, c=depth[rows, columns], cmap="turbo")
        axes.set_aspect("equal")
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
    else:
        drawn = axes.imshow(
            np.ma.masked_equal(depth, 0), cmap="turbo", extent=(0, width, height, 0), interpolation="nearest"
        )
    axes.figure.colorbar(drawn, ax=axes, label="m", fraction=0.03)


def draw_view(axes: Axes, view: View, height: int, width: int) -> None:
    """Draw a frame around the part of an image that the model sees, unless the view does not fit the image."""
    try:
        box = view.box(height, width)
    except ValueError:  # reported as unreadable
        return
    axes.add_patch(Rectangle((box.left, box.top), box.size[1], box.size[0], fill=False, color="white"))
