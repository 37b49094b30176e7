"""Boxes of pixels, and the crops that give a box for an image of a given size."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from depthclip.errors import InputError


class Box(NamedTuple):
    """Rows top:bottom and columns left:right of an image or a map, in pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of the box."""
        return self.bottom - self.top, self.right - self.left

    def within(self, height: int, width: int) -> bool:
        """Return whether the box is not empty and lies inside a map of the given size."""
        return 0 <= self.top < self.bottom <= height and 0 <= self.left < self.right <= width

    def inside(self, area: "Box") -> "Box":
        """Convert the box from pixels of an area of a map to pixels of the map."""
        return Box(self.top + area.top, self.left + area.left, self.bottom + area.top, self.right + area.left)

    def common(self, other: "Box") -> "Box":
        """Return the box of the pixels that lie in both boxes; its size is 0 along an axis without any."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Box(top, left, max(top, min(self.bottom, other.bottom)), max(left, min(self.right, other.right)))

    def cut(self, x: Tensor) -> Tensor:
        """Return the part of (..., H, W) inside the box."""
        return x[..., self.top : self.bottom, self.left : self.right]


class Crop:
    """Base class of crops that are neither a fixed box nor a named crop.

    Subclasses implement `box`; a recipe names the subclass by `class_path`.
    """

    def box(self, height: int, width: int) -> Box:
        """Return the box of an image or a map of the given size, in pixels."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({vars(self)})"  # part of the key of cached features


def kitti_benchmark(height: int, width: int) -> Box:
    """Return the 352 x 1216 pixels at the bottom centre, which KITTI's depth benchmark uses."""
    top, left = height - 352, (width - 1216) // 2
    return Box(top, left, top + 352, left + 1216)


def two_to_one(height: int, width: int) -> Box:
    """Return the centre of a portrait image, twice as wide as high."""
    top = (height - width // 2) // 2
    return Box(top, 0, top + width // 2, width)


def garg(height: int, width: int) -> Box:
    """Return the crop of Garg et al. (arXiv 1603.04992), fractions of the height and width rounded down."""
    return Box(int(0.40810811 * height), int(0.03594771 * width), int(0.99189189 * height), int(0.96405229 * width))


def eigen(height: int, width: int) -> Box:
    """Return the crop of Eigen et al. (arXiv 1406.2283) for KITTI, fractions of the height and width rounded down."""
    return Box(int(0.3324324 * height), int(0.0359477 * width), int(0.91351351 * height), int(0.96405229 * width))


NAMED: dict[str, Callable[[int, int], Box]] = {
    "kb": kitti_benchmark,
    "2:1": two_to_one,
    "garg": garg,
    "eigen": eigen,
}


def resolve_crop(
    crop: tuple[int, int, int, int] | str | Crop | None, height: int, width: int, argument: str, kind: str
) -> Box:
    """Return the box of a crop for an image or a depth map of the given size.

    Args:
        crop: (top, left, bottom, right) in pixels, a named crop, a `Crop`, or None for the whole image.
        height: height in pixels.
        width: width in pixels.
        argument: name of the argument that holds the crop, for the message.
        kind: `an image` or `a depth map`, for the message.

    Raises:
        InputError: if the box does not lie inside the image.
    """
    if crop is None:
        box = Box(0, 0, height, width)
    elif isinstance(crop, str):
        box = NAMED[crop](height, width)
    elif isinstance(crop, Crop):
        box = crop.box(height, width)
    else:
        box = Box(*crop)
    if not box.within(height, width):
        raise InputError(f"{argument} {crop} does not fit {kind} of {height} x {width}; set it for this size")
    return box


def seen_in_truth(box: Box, image: tuple[int, int], truth: tuple[int, int]) -> Box:
    """Convert a box from pixels of an image to pixels of a ground truth of another size, rounded.

    Args:
        box: box in the image.
        image: (height, width) of the image in pixels.
        truth: (height, width) of the ground truth in pixels, which shows the same scene.
    """
    down, across = truth[0] / image[0], truth[1] / image[1]
    return Box(round(box.top * down), round(box.left * across), round(box.bottom * down), round(box.right * across))
