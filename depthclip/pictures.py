"""Pictures: colour maps of depth, and panels that show where an estimate comes from."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image
from torch import Tensor, from_numpy

from depthclip.atomic import open_atomic
from depthclip.shown import Shown

DEPTH_MAP = "magma_r"  # near is bright
ERROR_MAP = "RdBu_r"
SPREAD_MAP = "cividis"
MOST_WORDS = 8
NO_MATH = {"parse_math": False}  # names are not TeX: a dollar or a backslash stands for itself


def colour_depth(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Return depth (H, W) in metres as a picture (H, W, 3) uint8: near bright, far dark, invalid (0) grey."""
    share = np.clip((depth - near) / max(far - near, 1e-6), 0, 1)
    # a table of 256 colours, since matplotlib's own look-up takes 32 bytes for each pixel of a photograph
    colours = (colormaps[DEPTH_MAP](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    picture = colours[np.minimum(share * 256, 255).astype(np.uint8)]
    picture[depth <= 0] = 128
    return picture


def depth_range(*maps: Tensor) -> tuple[float, float]:
    """Return the range of depth in metres without the outermost 2 % of some maps; (0, 1) if no pixel is valid."""
    valid = np.concatenate([m[m > 0].flatten().numpy() for m in maps])
    if not len(valid):
        return 0.0, 1.0
    near, far = np.percentile(valid, [1, 99])
    return float(near), float(max(far, near + 0.1))


def short(text: str, length: int = 40) -> str:
    """Return a text that fits a picture: the end of a long one, and printable characters in place of others."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= length else f"…{text[1 - length :]}"


def panel(samples: Sequence[Shown], words: Sequence[str], path: Path) -> None:
    """Draw a row for each sample: image, truth, depth, relative error, spread, and the weight of each word.

    The spread, the standard deviation of the depth, has a column if the head has a spread.

    Args:
        samples: test images, of whose depth maps the first is drawn.
        words: labels of the K weights; if there are many, some are drawn, evenly spread.
        path: PNG to write.
    """
    few = [round(k) for k in np.linspace(0, len(words) - 1, min(len(words), MOST_WORDS))]
    titles = ["image", "truth", "depth", "depth / truth - 1"]
    titles += ["spread"] if any(one.spread is not None for one in samples) else []
    columns = len(titles) + len(few)
    height = 2.1 * max(one.rgb.shape[1] / one.rgb.shape[2] for one in samples) + 0.25
    figure = Figure(figsize=(2.3 * columns, height * len(samples) + 0.5), layout="constrained")
    grid = figure.subplots(len(samples), columns, squeeze=False)
    for row, one in zip(grid, samples, strict=True):
        truth, depth, weights = one.target, one.depth[0], one.weights
        near, far = depth_range(truth, depth)
        shown = {"vmin": near, "vmax": far, "cmap": DEPTH_MAP}
        row[0].imshow(one.rgb.permute(1, 2, 0).numpy())
        row[0].set_ylabel(short(one.name), fontsize=7, **NO_MATH)
        _bar(figure, row[1].imshow(np.ma.masked_equal(truth.numpy(), 0), **shown), "m")
        _bar(figure, row[2].imshow(depth.numpy(), **shown), "m")
        error = np.ma.masked_where(truth.numpy() <= 0, (depth / truth.clamp_min(1e-6) - 1).numpy())
        _bar(figure, row[3].imshow(error, vmin=-1, vmax=1, cmap=ERROR_MAP), "relative")
        if one.spread is not None:
            widest = float(np.percentile(one.spread.numpy(), 99))
            _bar(figure, row[4].imshow(one.spread.numpy(), vmin=0, vmax=widest or None, cmap=SPREAD_MAP), "m")
        for axis, k in zip(row[len(titles) :], few, strict=True):
            if weights is not None:
                axis.imshow(weights[k].numpy(), vmin=0, vmax=1, cmap="viridis")
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_facecolor("0.85")
    for axis, title in zip(grid[0], (*titles, *(words[k] for k in few)), strict=True):
        axis.set_title(short(title), fontsize=9, **NO_MATH)
    with open_atomic(path) as file:
        figure.savefig(file, format="png", dpi=90)


def strips(samples: Sequence[Shown], height: int = 120) -> list[np.ndarray]:
    """Return pictures of samples side by side: the images, their truths, and the depths of each of V heads.

    Args:
        samples: test images.
        height: height of the pictures in pixels.

    Returns:
        2 + V pictures (height, W, 3) uint8; all depths of a sample have one scale of colours, that of its truth.
    """
    columns, gap = [], 2
    for one in samples:
        truth, depths = one.target, one.depth
        size = (round(height * truth.shape[1] / truth.shape[0]), height - 2 * gap)
        scale = depth_range(truth) if (truth > 0).any() else depth_range(depths[0])
        pictures = [(one.rgb.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)]
        pictures += [colour_depth(depth.numpy(), *scale) for depth in (truth, *depths)]
        small = [np.asarray(Image.fromarray(picture).resize(size)) for picture in pictures]
        columns.append([np.pad(p, ((gap, gap), (gap, gap), (0, 0)), constant_values=255) for p in small])
    return [np.hstack(row) for row in zip(*columns, strict=True)]


def compare_heads(rows: Sequence[np.ndarray], names: Sequence[str], path: Path) -> None:
    """Draw the strips of several heads below each other, each with its name.

    Args:
        rows: the images, the truths, and the depths of each head, as `strips` returns them.
        names: names of the heads.
        path: PNG to write.
    """
    whole = np.vstack(rows)
    height, width = whole.shape[:2]
    figure = Figure(figsize=(width / 90, height / 90))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(whole)
    axis.set_xticks([])
    labels = ["image", "truth", *(short(name, 80) for name in names)]
    axis.set_yticks([(k + 0.5) * height / len(rows) for k in range(len(rows))], labels, **NO_MATH)
    axis.tick_params(length=0, labelsize=9)
    axis.set_frame_on(False)
    with open_atomic(path) as file:
        figure.savefig(file, format="png", dpi=90, bbox_inches="tight")  # as wide as the names need


def picture_of_depth(depth: np.ndarray, side: int = 480) -> bytes:
    """Return a picture of a depth map with a scale bar in metres, as the content of a PNG file.

    Args:
        depth: (H, W) in metres; 0 or less and NaN are drawn in grey.
        side: length of the longer side of the map in the picture, in pixels; the map is not enlarged.
    """
    height, width = depth.shape
    share, dots = min(1.0, side / max(height, width)), 100
    size = (max(1, round(width * share)), max(1, round(height * share)))
    small = np.asarray(Image.fromarray(np.nan_to_num(depth, nan=0.0)).resize(size, Image.Resampling.NEAREST))
    near, far = depth_range(from_numpy(small.copy()))
    map_size = size[0] / dots, max(size[1], 120) / dots  # inches; a low map leaves room for the ticks of the bar
    figure = Figure(figsize=map_size, dpi=dots)
    axis, bar = figure.add_axes((0, 0, 1, 1)), figure.add_axes((1 + 0.1 / map_size[0], 0, 0.12 / map_size[0], 1))
    shown = axis.imshow(np.ma.masked_less_equal(small, 0), vmin=near, vmax=far, cmap=DEPTH_MAP)
    axis.set_facecolor("0.5")
    axis.set_xticks([])
    axis.set_yticks([])
    figure.colorbar(shown, cax=bar).set_label("depth in metres")
    content = BytesIO()
    figure.savefig(content, format="png", bbox_inches="tight", pad_inches=0.05)
    return content.getvalue()


def save_picture(picture: np.ndarray, path: Path) -> None:
    """Write a picture (H, W, 3) uint8 as PNG."""
    with open_atomic(path) as file:
        Image.fromarray(picture).save(file, "PNG")


def _bar(figure: Figure, image: AxesImage, label: str) -> None:
    bar = figure.colorbar(image, ax=image.axes, fraction=0.046, pad=0.02)
    bar.ax.tick_params(labelsize=6)
    bar.set_label(label, fontsize=6, labelpad=1)
