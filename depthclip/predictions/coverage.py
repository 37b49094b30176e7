"""Decide which part of an image a depth map shows."""

from pathlib import Path
from typing import Literal

from depthclip.data.paths import quoted
from depthclip.data.samples import DataError
from depthclip.protocol import View, seen_in_truth

Part = Literal["image", "view"]


def part_of(
    size: tuple[int, int], image: tuple[int, int], target: tuple[int, int], view: View, path: Path, covers: Part | None
) -> Part:
    """Return whether a depth map shows the whole image, or the part of it in the view.

    A map of the size of the image or of the ground truth shows the whole image. A map of the size of the view's crop,
    in pixels of the image or of the ground truth, or of `view.size`, shows the crop.

    Args:
        size: (height, width) of the depth map.
        image: (height, width) of the image.
        target: (height, width) of the ground truth.
        view: its crop is the part.
        path: file of the depth map, for the message.
        covers: the answer for maps of any size; None to decide by the size.

    Raises:
        DataError: if the size is none of these.
    """
    if covers is not None:
        return covers
    if size in (image, target):
        return "image"
    box = view.box(*image)
    seen = seen_in_truth(box, image, target).size
    if size in (box.size, seen) or size == view.size:
        return "view"
    crop = f", and its crop by the view is {seen[0]} x {seen[1]}" if seen != target else ""
    raise DataError(
        f"prediction {quoted(path)} is {size[0]} x {size[1]}, but its ground truth is {target[0]} x {target[1]}{crop}; "
        "write it at one of these sizes, or set covers to image or view, the part that it shows, to resample it"
    )
