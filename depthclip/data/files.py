"""Reading images and depth maps, with errors that name the file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from depthclip.data.base import DataError, DepthDataset, Sample


class Entry(NamedTuple):
    """An image file and its depth.

    Args:
        image: path of the image.
        depth: path of its depth; None where there is no truth.
        name: what to call it: its path within the data set.
        scene: the type of scene, or the recording.
    """

    image: Path
    depth: Path | None
    name: str
    scene: str = ""


class FileSamples(DepthDataset):
    """Images in files of their own; subclasses say where their depth comes from.

    Args:
        entries: the files.
    """

    grid = False  # whether the truth has a size of its own; otherwise it must have the image's

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = list(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, index: int) -> str:
        """The path of image `index` within the data set."""
        return self.entries[index].name

    def scene(self, index: int) -> str:
        """The type of scene of image `index`, or its recording."""
        return self.entries[index].scene

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that image `index` is read from."""
        image, depth = self.entries[index][:2]
        return (image,) if depth is None else (image, depth)

    def depth(self, index: int, size: tuple[int, int]) -> Tensor | None:
        """The truth of image `index` of that (height, width), (H, W) float32 metres; None where there is none."""
        return None

    def truth(self, index: int) -> tuple[Tensor | None, tuple[int, int]]:
        """Return the depth of image `index` and the image's (height, width), without decoding the image."""
        size = header_size(self.entries[index].image)
        try:
            depth = None if size is None else self.depth(index, size)
        except DataError:
            size = None
        if size is None or not (depth is None or self.grid or tuple(depth.shape) == size):
            return super().truth(index)  # reading the sample tells what is wrong
        return depth, size

    def __getitem__(self, index: int) -> Sample:
        entry = self.entries[index]
        image = read_rgb(entry.image)
        depth = self.depth(index, (image.shape[-2], image.shape[-1]))
        if depth is not None and entry.depth is not None and not self.grid:
            same_size(image, depth, entry.image, entry.depth)
        return Sample(image, depth, entry.name, entry.scene)


class PairSamples(FileSamples):
    """Images and depth maps in files of their own.

    Args:
        entries: the files.
        read: reads a depth file as (H, W) float32 metres, 0 = invalid.
        grid: whether the truth has a size of its own.
    """

    def __init__(self, entries: Sequence[Entry], read: Callable[[Path], Tensor], grid: bool = False) -> None:
        super().__init__(entries)
        self.read = read
        self.grid = grid

    def depth(self, index: int, size: tuple[int, int]) -> Tensor | None:
        """The depth map of image `index`, (H, W) float32 metres."""
        path = self.entries[index].depth
        return None if path is None else self.read(path)


def header_size(path: Path) -> tuple[int, int] | None:
    """Return the (height, width) in the header of an image file, or None if it takes more than the header to know."""
    if not path.is_file():
        return None
    try:
        with Image.open(path) as image:
            turned = "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            return None if turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def read_rgb(path: Path) -> Tensor:
    """An image file as (3, H, W) uint8 RGB.

    Raises:
        DataError: if it is missing, truncated or no image.
    """
    return torch.from_numpy(np.ascontiguousarray(_pixels(path, "image", "RGB").transpose(2, 0, 1)))


def read_depth(
    path: Path,
    scale: float,
    invalid: Sequence[float] = (),
    decode: Literal["plain", "rotated", "kinect"] = "plain",
) -> Tensor:
    """A depth image or array as (H, W) float32 metres, 0 = invalid.

    Args:
        path: PNG, PGM or TIFF with unsigned 16-bit (PIL opens them as `I;16` or `I`) or floating-point values; or an
            array in .npy, (H, W) or (H, W, 1).
        scale: values a metre: 1000 for millimetres, 256 for KITTI, 1 for metres.
        invalid: values that mean no depth; 0, negative and not finite ones always do.
        decode: what is done to the values first: `rotated` turns SUN RGB-D's bits back; `kinect` makes millimetres of
            the byte-swapped disparity d that NYU's raw .pgm files hold, 351.3 / (1092.5 - d) metres, 2047 = invalid.

    Raises:
        DataError: if it is missing, truncated, or has 8 bits, which cannot hold metric depth.
    """
    values = _array(path) if path.suffix == ".npy" else _pixels(path, "depth map")
    if values.ndim != 2 or values.dtype == np.uint8 or values.dtype == bool:
        raise DataError(
            f"depth map {path} has {values.dtype} values in {values.ndim} dimensions, but metric depth needs one "
            "channel of 16 bits; it was probably made for display, use the original"
        )
    unseen = np.isin(values, invalid) if len(invalid) else None
    if decode == "rotated":
        bits = values.astype(np.uint16)
        values = (bits >> 3) | (bits << 13)
    elif decode == "kinect":
        disparity = values.astype(np.uint16).byteswap().astype(np.float32)
        # beyond 1091 lies what the sensor cannot measure; 2047 is its own sign for it
        values = np.where(disparity < 1092, 351.3e3 / np.maximum(1092.5 - disparity, 0.5), 0)
    depth = values.astype(np.float32) / np.float32(scale)
    if unseen is not None:
        depth[unseen] = 0
    return metres(depth)


def metres(depth: np.ndarray) -> Tensor:
    """An array of metres as float32 with 0 where it is negative or not finite."""
    # NumPy, since torch divides such small work among threads and then waits for them
    return torch.from_numpy(
        np.where((depth > 0) & (depth < np.inf), depth, 0).astype(np.float32, order="C", copy=False)
    )


def _array(path: Path) -> np.ndarray:
    try:
        # a pickled array could run code, and is none that a depth map needs
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"depth map {path} does not exist; check the data set's root and list") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"depth map {path} cannot be read ({error}); fetch it again, or set on_error: skip") from error
    return values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values


def _pixels(path: Path, kind: str, mode: str | None = None) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image if mode is None else image.convert(mode))
    except FileNotFoundError as error:
        raise DataError(f"{kind} {path} does not exist; check the data set's root and list") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{kind} {path} cannot be read ({error}); fetch it again, or set on_error: skip") from error


def same_size(image: Tensor, depth: Tensor, image_path: Path, depth_path: Path) -> None:
    """Refuses an image and a depth map of different size.

    Raises:
        DataError: naming both files and sizes.
    """
    if image.shape[-2:] != depth.shape[-2:]:
        both = ((image_path, image), (depth_path, depth))
        sizes = " and ".join(f"{path} is {x.shape[-2]} x {x.shape[-1]}" for path, x in both)
        raise DataError(f"image and depth map differ in size: {sizes}; pair each image with its own map")
