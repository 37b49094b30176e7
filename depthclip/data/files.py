"""Reading images and depth maps, with errors that name the file."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from depthclip.data.base import DataError


def read_rgb(path: Path) -> Tensor:
    """An image file as (3, H, W) uint8 RGB.

    Raises:
        DataError: if it is missing, truncated or no image.
    """
    return torch.from_numpy(np.ascontiguousarray(_pixels(path, "image", "RGB").transpose(2, 0, 1)))


def read_depth(path: Path, scale: float) -> Tensor:
    """A 16-bit depth image as (H, W) float32 metres, 0 = invalid.

    Args:
        path: PNG or PGM with unsigned 16-bit values (PIL opens them as `I;16` or `I`).
        scale: values a metre: 1000 for millimetres, 256 for KITTI.

    Raises:
        DataError: if it is missing, truncated, or has 8 bits, which cannot hold metric depth.
    """
    values = _pixels(path, "depth map")
    if values.ndim != 2 or values.dtype == np.uint8 or values.dtype == bool:
        raise DataError(
            f"depth map {path} has {values.dtype} values in {values.ndim} dimensions, but metric depth needs one channel of "
            "16 bits; it was probably made for display, use the original"
        )
    return torch.from_numpy(values.astype(np.float32) / np.float32(scale))


def _pixels(path: Path, kind: str, mode: str | None = None) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image if mode is None else image.convert(mode))
    except FileNotFoundError as error:
        raise DataError(f"{kind} {path} does not exist; check the data set's root and list") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{kind} {path} cannot be read ({error}); fetch it again, or skip it with on_error: skip") from error


def same_size(image: Tensor, depth: Tensor, image_path: Path, depth_path: Path) -> None:
    """Refuses an image and a depth map of different size.

    Raises:
        DataError: naming both files and sizes.
    """
    if image.shape[-2:] != depth.shape[-2:]:
        sizes = " and ".join(f"{path} is {x.shape[-2]} x {x.shape[-1]}" for path, x in ((image_path, image), (depth_path, depth)))
        raise DataError(f"image and depth map differ in size: {sizes}; pair each image with its own map")
