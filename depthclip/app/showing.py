"""The pictures and texts that the page shows of a photograph, without gradio."""

from typing import NamedTuple

import numpy as np
import torch

from depthclip.app.drawing import histogram, marked, scale_bar, weight_maps
from depthclip.app.studio import OpenedPhoto, Reading, Studio
from depthclip.app.wording import Wording
from depthclip.pictures import colour_depth, depth_range

SIDE = 640  # pixels of the longer side of the maps on the page
Point = tuple[float, float]  # shares of the width and the height, from the upper left corner


class Showing(NamedTuple):
    """The pictures and texts of a photograph.

    Args:
        depth: (H, W, 3) uint8, the depth in colours, with a ring around the chosen point.
        scale: the scale of its colours, as HTML.
        point: depth at the chosen point.
        weights: the weight of each word in each patch, as HTML.
        histogram: the histogram of the depth, as SVG.
        pair: the depth with the words before and with the present ones, in the same colours.
        notes: warnings of the model.
    """

    depth: np.ndarray
    scale: str
    point: str
    weights: str
    histogram: str
    pair: tuple[np.ndarray, np.ndarray]
    notes: tuple[str, ...]


def show_photo(
    studio: Studio,
    photo: OpenedPhoto,
    wording: Wording,
    before: Wording,
    fov: float | None = None,
    point: Point | None = None,
) -> Showing:
    """Return the pictures and texts of a photograph, which is not encoded again.

    Args:
        studio: the model.
        photo: the photograph.
        wording: the present words.
        before: the words with which they are compared.
        fov: field of view across the width in degrees; None for that of the EXIF block.
        point: the chosen point; None for none.

    Raises:
        InputError: if a value is refused.
    """
    small = photo.at_most(SIDE)
    reading = studio.read(small, wording, fov)
    depth = reading.depth
    other = depth if before == wording else studio.read(small, before, fov).depth
    near, far = depth_range(*(torch.from_numpy(each[::4, ::4]) for each in (depth, other)))  # a sample of the pixels
    picture = colour_depth(depth, near, far)
    pixel = None if point is None else pixel_at(point, depth.shape)
    return Showing(
        marked(picture, pixel),
        scale_bar(near, far),
        describe(reading, photo, point),
        weight_maps(reading.words, reading.bins, reading.weights),
        histogram(depth, reading.bins, near, far),
        (colour_depth(other, near, far), picture),
        reading.notes,
    )


def describe(reading: Reading, photo: OpenedPhoto, point: Point | None) -> str:
    """Return the depth at a point, such as `2.31 m ± 0.40 m at (310, 122)`, and the word of the largest weight there.

    Args:
        reading: maps of the photograph.
        photo: the photograph, in whose pixels (x, y) is.
        point: the point; None for none.
    """
    if point is None:
        return "Click on the map for the depth of a point."
    height, width = photo.encoded.size
    column, row = pixel_at(point, (height, width))
    x, y = pixel_at(point, reading.depth.shape)
    i, j = pixel_at(point, reading.weights.shape[1:])
    weights = reading.weights[:, j, i]
    best = int(weights.argmax())
    return (
        f"{reading.depth[y, x]:.2f} m ± {reading.spread[y, x]:.2f} m at ({column}, {row}); the patch there is most "
        f"like “{reading.words[best]}” ({weights[best]:.0%})"
    )


def pixel_at(point: Point, size: tuple[int, ...]) -> tuple[int, int]:
    """Return the pixel (x, y) at a point of a map.

    Args:
        point: shares of the width and the height.
        size: (H, W) of the map.
    """
    height, width = size
    return min(int(point[0] * width), width - 1), min(int(point[1] * height), height - 1)
