"""Reading images and depth maps, with errors that name the file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from depthclip.checks import check_number
from depthclip.data.images import AGAIN, SKIP, read_colours, read_values
from depthclip.data.paths import regular_file
from depthclip.data.samples import DataError, DepthDataset, Sample

SCALES = (1e-6, 1e9)  # depth in megametres and in nanometres


class Entry(NamedTuple):
    """An image file and its depth.

    Args:
        image: path of the image.
        depth: path of its depth; None where there is no truth.
        name: what to call it: its path within the data set.
        scene: the type of scene, or the recording.
        origin: list and line that name the files, for messages; "" where no list does.
    """

    image: Path
    depth: Path | None
    name: str
    scene: str = ""
    origin: str = ""


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

    def has_truth(self, index: int) -> bool:
        """Return whether image `index` has a depth map."""
        return self.entries[index].depth is not None

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
        try:
            return self._read(index)
        except DataError as error:
            if origin := self.entries[index].origin:
                raise DataError(f"{origin}: {error}") from error
            raise

    def _read(self, index: int) -> Sample:
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
    """Return an image file as (3, H, W) uint8 RGB, as image viewers show it.

    The EXIF orientation is applied, 16-bit grey is reduced to 8 bits, and transparent images are laid over white.

    Raises:
        DataError: if it is missing, truncated or no image.
    """
    return torch.from_numpy(np.ascontiguousarray(read_colours(path).transpose(2, 0, 1)))


def read_depth(
    path: Path,
    scale: float,
    invalid: Sequence[float] = (),
    decode: Literal["plain", "rotated", "kinect"] = "plain",
) -> Tensor:
    """Return a depth image or array as (H, W) float32 metres, 0 = invalid.

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
    values = _array(path) if path.suffix.lower() == ".npy" else read_values(path)
    check_depth_values(values, f"depth map {path}")
    if decode != "plain" and values.dtype.kind == "f":
        raise DataError(f"depth map {path} has {values.dtype} values, but decode {decode} needs integers; set it plain")
    unseen = np.isin(values, invalid) if len(invalid) else None
    if decode == "rotated":
        bits = values.astype(np.uint16)
        values = (bits >> 3) | (bits << 13)
    elif decode == "kinect":
        disparity = values.astype(np.uint16).byteswap().astype(np.float32)
        # beyond 1091 lies what the sensor cannot measure; 2047 is its own sign for it
        values = np.where(disparity < 1092, 351.3e3 / np.maximum(1092.5 - disparity, 0.5), 0)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, which means no depth
        depth = values.astype(np.float32) / np.float32(scale)
    if unseen is not None:
        depth[unseen] = 0
    return metres(depth)


def check_scale(name: str, value: float) -> None:
    """Raise unless a number can be depth values per metre.

    Raises:
        InputError: naming the argument and its value.
    """
    check_number(name, value, at_least=SCALES[0], at_most=SCALES[1], unit="values per metre")


def check_depth_values(values: np.ndarray, what: str) -> None:
    """Raise unless an array can hold metric depth: one channel of numbers of at least 16 bits.

    Args:
        values: the array.
        what: the file, for the message.

    Raises:
        DataError: naming type and shape.
    """
    if values.ndim != 2 or not values.size or values.dtype.kind not in "iuf" or values.dtype.itemsize < 2:
        raise DataError(
            f"{what} has {values.dtype} values of shape {values.shape}, but metric depth needs one channel of at least "
            "16 bits; it was probably made for display, use the original"
        )


def metres(depth: np.ndarray) -> Tensor:
    """An array of metres as float32 with 0 where it is negative or not finite."""
    # NumPy, since torch divides such small work among threads and then waits for them
    with np.errstate(over="ignore"):
        depth = depth.astype(np.float32, order="C", copy=False)
    return torch.from_numpy(np.where((depth > 0) & (depth < np.inf), depth, np.float32(0)))


def _array(path: Path) -> np.ndarray:
    regular_file(path, "depth map", f"check the data set's root and list, or {SKIP}")
    try:
        # mapped, so that a header that promises more than the file holds takes no memory
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header raises whatever its bytes lead to
        # a pickled array could run code, and is none that a depth map needs
        told = "it holds pickled objects or no array" if "object" in str(error) else error
        raise DataError(f"depth map {path} cannot be read ({told}); {AGAIN}") from error
    if not isinstance(values, np.ndarray):
        raise DataError(f"depth map {path} cannot be read (it is an .npz archive); store one array with numpy.save")
    return values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values


def same_size(image: Tensor, depth: Tensor, image_path: Path, depth_path: Path) -> None:
    """Raise if an image and a depth map differ in size.

    Raises:
        DataError: naming both files and sizes.
    """
    if image.shape[-2:] != depth.shape[-2:]:
        both = ((image_path, image), (depth_path, depth))
        sizes = " and ".join(f"{path} is {x.shape[-2]} x {x.shape[-1]}" for path, x in both)
        raise DataError(
            f"image and depth map differ in size: {sizes}; give each image its own map, turned as the EXIF orientation "
            "of the image says"
        )
