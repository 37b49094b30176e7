"""Photographs that users pass from Python, as arrays, PIL images or files."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from depthclip.camera import check_focal, focal_length
from depthclip.checks import brief
from depthclip.data.files import read_rgb
from depthclip.data.focal import exif_focal, film_focal
from depthclip.data.images import to_rgb, upright
from depthclip.errors import InputError

MOST_PIXELS = 500_000_000  # of an array; a larger one would take more memory than most machines have
Photograph = str | Path | Image.Image | np.ndarray


def rgb_of(image: Photograph) -> Tensor:
    """Return a photograph as (3, H, W) uint8 RGB, upright as its EXIF orientation says.

    Args:
        image: a path, a PIL image, or an (H, W, 3) uint8 RGB array.

    Raises:
        InputError: if it is none of these, it cannot be read, or it is too large.
    """
    if isinstance(image, str | Path):
        return read_rgb(Path(image), "check the path")
    if isinstance(image, Image.Image):
        image = decode(image)
    if not isinstance(image, np.ndarray):
        raise InputError(f"image {brief(image)} must be a path, a PIL image or an (H, W, 3) uint8 array")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"image is a {image.dtype} array of shape {image.shape}, but must be (H, W, 3) uint8 RGB; convert it, "
            "values in [0, 1] by (255 * image).round().astype('uint8')"
        )
    if image.size > 3 * MOST_PIXELS:
        raise InputError(f"image has the shape {image.shape}, but must have at most {MOST_PIXELS} pixels; reduce it")
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def focal_of(
    stated: float | None, size: tuple[int, int], fov: float | None = None, focal: float | None = None
) -> float | None:
    """Return the focal length of a photograph in pixels; None if it is not known.

    Args:
        stated: focal length that the photograph states, see `stated_focal`; it is used if neither `fov` nor `focal` is
            given.
        size: (height, width) of the upright photograph in pixels.
        fov: field of view across the width in degrees; None if it is not given.
        focal: focal length in pixels; None if it is not given.

    Raises:
        InputError: if both are given, or one is out of its range.
    """
    if fov is not None and focal is not None:
        raise InputError(f"fov {brief(fov)} and focal {brief(focal)} both set the focal length; pass one of them")
    if focal is not None:
        check_focal("focal", focal, hint="use None if it is not known")
        return float(focal)
    return stated if fov is None else focal_length(size[1], fov)


def stated_focal(image: Photograph, size: tuple[int, int]) -> float | None:
    """Return the focal length in pixels that the EXIF block of a file or PIL image states; None if it states none.

    Args:
        image: a photograph that `rgb_of` accepts.
        size: (height, width) of the upright photograph in pixels.
    """
    if isinstance(image, Image.Image):
        return film_focal(image, size)
    return exif_focal(Path(image), size) if isinstance(image, str | Path) else None


def decode(image: Image.Image) -> np.ndarray:
    """Return the pixels of a PIL image, (H, W, 3) uint8 RGB, upright, as those of a file.

    Raises:
        InputError: if it is empty, cannot be decoded, or has floating-point values or more than 16 bits.
    """
    if 0 in image.size:
        raise InputError(f"image is a PIL image of size {image.size}, but must have pixels; pass another image")
    try:
        image.load()
        return to_rgb(upright(image), f"image is a PIL image of mode {image.mode} that")
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"image is a PIL image that cannot be decoded ({error}); fetch its file again") from error
