"""Images and depth maps in files; errors name the file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from depthclip.checks import check_number
from depthclip.data.images import AGAIN, CHECK_LIST, read_colours, read_values
from depthclip.data.paths import regular_file
from depthclip.data.samples import DataError, DepthDataset, Sample

FocalOf = Callable[[Path, tuple[int, int]], float | None]
SCALES = (1e-6, 1e9)  # depth in megametres and in nanometres


class Entry(NamedTuple):
    """An image file and its depth.

    Args:
        image: path of the image.
        depth: path of its depth; None without ground truth.
        name: path of the image within the data set.
        scene: type of scene, or recording.
        origin: list and line that name the files, for messages; "" without a list.
        focal: focal length in pixels of the image; None if it is unknown.
    """

    image: Path
    depth: Path | None
    name: str
    scene: str = ""
    origin: str = ""
    focal: float | None = None


class FileSamples(DepthDataset):
    """Images with a file each; subclasses define how their depth is read.

    Args:
        entries: image and depth files.
        focal_of: function that returns the focal length in pixels of an image file, whose (height, width) is its second
            argument, or None; None for the focal lengths of the entries.
    """

    grid = False  # the depth may differ from the image in size
    hint = CHECK_LIST  # way to correct the error of a missing image

    def __init__(self, entries: Sequence[Entry], focal_of: FocalOf | None = None) -> None:
        self.entries = list(entries)
        self.focal_of = focal_of

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, index: int) -> str:
        """Return the path of image `index` within the data set."""
        return self.entries[index].name

    def scene(self, index: int) -> str:
        """Return the type of scene of image `index`, or its recording."""
        return self.entries[index].scene

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that image `index` is read from."""
        image, depth = self.entries[index][:2]
        return (image,) if depth is None else (image, depth)

    def has_truth(self, index: int) -> bool:
        """Return whether image `index` has a depth map."""
        return self.entries[index].depth is not None

    def depth(self, index: int, size: tuple[int, int]) -> Tensor | None:
        """Return the depth of image `index`, whose (height, width) is `size`, as (H, W) float32 metres, or None."""
        return None

    def focal(self, index: int, size: tuple[int, int]) -> float | None:
        """Return the focal length in pixels of image `index`, whose (height, width) is `size`, or None."""
        entry = self.entries[index]
        return entry.focal if self.focal_of is None else self.focal_of(entry.image, size)

    def truth(self, index: int) -> tuple[Tensor | None, tuple[int, int]]:
        """Return the depth of image `index` and the image's (height, width), without decoding the image."""
        size = header_size(self.entries[index].image)
        try:
            depth = None if size is None else self.depth(index, size)
        except DataError:
            size = None
        if size is None or not (depth is None or self.grid or tuple(depth.shape) == size):
            return super().truth(index)  # raises an error that names the cause
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
        image = read_rgb(entry.image, self.hint)
        size = (image.shape[-2], image.shape[-1])
        depth = self.depth(index, size)
        if depth is not None and entry.depth is not None and not self.grid:
            same_size(image, depth, entry.image, entry.depth)
        return Sample(image, depth, entry.name, entry.scene, self.focal(index, size))


class PairSamples(FileSamples):
    """Images and depth maps with a file each.

    Args:
        entries: image and depth files.
        read: function that reads a depth file as (H, W) float32 metres, 0 = invalid.
        grid: the depth may differ from the image in size.
        focal_of: see `FileSamples`.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        read: Callable[[Path], Tensor],
        grid: bool = False,
        focal_of: FocalOf | None = None,
    ) -> None:
        super().__init__(entries, focal_of)
        self.read = read
        self.grid = grid

    def depth(self, index: int, size: tuple[int, int]) -> Tensor | None:
        """Return the depth map of image `index`, (H, W) float32 metres."""
        path = self.entries[index].depth
        return None if path is None else self.read(path)


def header_size(path: Path) -> tuple[int, int] | None:
    """Return the (height, width) in the header of an image file, or None if the header does not determine it."""
    if not path.is_file():
        return None
    try:
        with Image.open(path) as image:
            turned = "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            return None if turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def read_rgb(path: Path, hint: str = CHECK_LIST) -> Tensor:
    """Return an image file as (3, H, W) uint8 RGB, as an image viewer displays it.

    The EXIF orientation is applied, 16-bit grey is reduced to 8 bits, and transparent images are composited on white.

    Args:
        path: image file.
        hint: way to correct the error of a missing file.

    Raises:
        DataError: if it is missing, truncated, or not an image.
    """
    return torch.from_numpy(np.ascontiguousarray(read_colours(path, hint).transpose(2, 0, 1)))


def read_depth(
    path: Path,
    scale: float,
    invalid: Sequence[float] = (),
    decode: Literal["plain", "rotated", "kinect"] = "plain",
) -> Tensor:
    """Return a depth image or array as (H, W) float32 metres, 0 = invalid.

    Args:
        path: PNG, PGM or TIFF file with unsigned 16-bit (`I;16` or `I` in PIL) or floating-point values, or .npy file
            with an array (H, W) or (H, W, 1).
        scale: values per metre: 1000 for millimetres, 256 for KITTI, 1 for metres.
        invalid: further values that stand for no depth, beside 0, negative and not finite values.
        decode: decoding of the values: `rotated` for the rotated bits of SUN RGB-D; `kinect` for the byte-swapped
            disparity d in NYU's raw .pgm files, which becomes 351300 / (1092.5 - d) millimetres, 2047 = invalid.

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
        # the sensor cannot measure beyond 1091, and marks such pixels with 2047
        values = np.where(disparity < 1092, 351.3e3 / np.maximum(1092.5 - disparity, 0.5), 0)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, which means no depth
        depth = values.astype(np.float32) / np.float32(scale)
    if unseen is not None:
        depth[unseen] = 0
    return metres(depth)


def check_scale(name: str, value: float) -> None:
    """Raise unless a number is a possible number of depth values per metre.

    Raises:
        InputError: with the argument and its value.
    """
    check_number(name, value, at_least=SCALES[0], at_most=SCALES[1], unit="values per metre")


def check_depth_values(values: np.ndarray, what: str) -> None:
    """Raise unless an array can hold metric depth: a single channel of numbers of at least 16 bits.

    Args:
        values: array.
        what: description of the file, for the message.

    Raises:
        DataError: with type and shape.
    """
    if values.ndim != 2 or not values.size or values.dtype.kind not in "iuf" or values.dtype.itemsize < 2:
        raise DataError(
            f"{what} has {values.dtype} values of shape {values.shape}, but metric depth needs one channel of at least "
            "16 bits; it was probably made for display, use the original"
        )


def metres(depth: np.ndarray) -> Tensor:
    """Return an array of metres as float32 with 0 in place of negative and not finite values."""
    # NumPy is faster here than torch, which distributes the work over threads
    with np.errstate(over="ignore"):
        depth = depth.astype(np.float32, order="C", copy=False)
    return torch.from_numpy(np.where((depth > 0) & (depth < np.inf), depth, np.float32(0)))


def _array(path: Path) -> np.ndarray:
    regular_file(path, "depth map", CHECK_LIST)
    try:
        # mapped, so that a header with a larger shape than the file has allocates no memory
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header may raise any exception
        # loading a pickled array could run code
        reason = "it holds pickled objects or no array" if "object" in str(error) else error
        raise DataError(f"depth map {path} cannot be read ({reason}); {AGAIN}") from error
    if not isinstance(values, np.ndarray):
        raise DataError(f"depth map {path} cannot be read (it is an .npz archive); store one array with numpy.save")
    return values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values


def same_size(image: Tensor, depth: Tensor, image_path: Path, depth_path: Path) -> None:
    """Raise if an image and a depth map differ in size.

    Raises:
        DataError: with both files and sizes.
    """
    if image.shape[-2:] != depth.shape[-2:]:
        both = ((image_path, image), (depth_path, depth))
        sizes = " and ".join(f"{path} is {x.shape[-2]} x {x.shape[-1]}" for path, x in both)
        raise DataError(
            f"image and depth map differ in size: {sizes}; give each image its own map, rotated as the EXIF "
            "orientation of the image demands"
        )
