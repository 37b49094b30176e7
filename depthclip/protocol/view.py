"""View: the part of an image that the model sees, its windows, and the upsampling of coarse maps to that part."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from depthclip.camera import check_focal
from depthclip.checks import LARGEST_SIDE, check_count, check_crop, check_pair
from depthclip.errors import InputError
from depthclip.protocol.box import Box, Crop, resolve_crop
from depthclip.protocol.resizing import resize
from depthclip.protocol.windows import Windows

MOST_WINDOWS = 10_000  # of an image
SMALLEST_SIDE = 16  # pixels to which an image is resized for its focal length; about a patch of most towers


@dataclass(frozen=True)
class View:
    """Crop and size of the images that the model sees, and the resampling of its coarse maps.

    Args:
        crop: (top, left, bottom, right) in pixels; `kb` for KITTI's 352 x 1216 at the bottom centre; `2:1` for the
            centre of a portrait image, twice as wide as high; a `Crop` by class_path; null for the whole image.
        size: (height, width) in pixels to which the crop is resized, bilinear and antialiased; null keeps its size.
        max_side: where no size is given, crops whose longer side exceeds this are reduced to it, in pixels.
        mirror: whether to average in the depth of the mirrored image, mirrored back.
        align_corners: `align_corners` of the bilinear upsampling of the coarse map: true places the centres of the
            outer patches on the corners of the image.
        window: (height, width) in pixels of the windows into which the resized crop is cut. The windows are encoded as
            one batch, and their coarse maps are averaged where they overlap; the last windows are shifted inwards to
            end at the border, and a smaller image is one window. null for the whole image at once.
        stride: (down, across) in pixels, the distances between neighbouring windows, at most the window; null for half
            the window.
        focal: focal length in pixels. Images that state theirs are resized further, from `size` or `max_side`, so that
            they have this focal length: a pixel then covers the same angle in all of them. null resizes no further.

    Raises:
        InputError: if the crop is empty, a size is not a whole number of pixels from 1 to 16384, the stride exceeds the
            window, there is a stride without a window, or the focal length is not from 1 to 1e6 pixels.
    """

    crop: tuple[int, int, int, int] | Literal["kb", "2:1"] | Crop | None = None
    size: tuple[int, int] | None = None
    max_side: int | None = None
    mirror: bool = False
    align_corners: bool = False
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    focal: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.crop, Crop):
            check_crop("view.crop", self.crop, ("kb", "2:1"))
        if self.size is not None:
            check_pair("view.size", self.size, "[height, width] in pixels; use null to keep the size")
            for side in self.size:
                check_count(f"view.size {self.size!r}: side", side, at_most=LARGEST_SIDE, unit="pixels")
        if self.max_side is not None:
            hint = "use null for no limit"
            check_count("view.max_side", self.max_side, at_most=LARGEST_SIDE, unit="pixels", hint=hint)
        if self.window is not None:
            check_pair("view.window", self.window, "[height, width] in pixels; use null for the whole image")
            for side in self.window:
                check_count(f"view.window {self.window!r}: side", side, at_most=LARGEST_SIDE, unit="pixels")
        if self.stride is not None:
            check_pair("view.stride", self.stride, "[down, across] in pixels; use null for half the window")
            if self.window is None:
                raise InputError(f"view.stride {self.stride!r} has no effect without view.window; set both, or neither")
            for step, side in zip(self.stride, self.window, strict=True):
                hint = "use at most the window, which leaves no pixel out"
                check_count(f"view.stride {self.stride!r}: step", step, at_most=side, unit="pixels", hint=hint)
        if self.focal is not None:
            check_focal("view.focal", self.focal, hint="use null to resize by size or max_side alone")

    def box(self, height: int, width: int) -> Box:
        """Return the box of the crop in an image of the given size.

        Raises:
            InputError: if the crop does not fit the image.
        """
        return resolve_crop(self.crop, height, width, "view.crop", "an image")

    def see(self, image: Tensor, focal: float | None = None) -> Tensor:
        """Crop and resize an image.

        Args:
            image: (3, H, W).
            focal: its focal length in pixels; None if it is not known.

        Raises:
            InputError: if the crop does not fit the image, or `focal` of the view would make a side of it larger than
                16384 or smaller than 16 pixels.
        """
        seen = self.box(image.shape[-2], image.shape[-1]).cut(image)
        size = self.size_seen(seen.shape[-2], seen.shape[-1], focal)
        return resize(seen, size)

    def size_seen(self, height: int, width: int, focal: float | None = None) -> tuple[int, int]:
        """Return the (height, width) to which a crop is resized.

        Args:
            height: height of the crop in pixels.
            width: width of the crop in pixels.
            focal: focal length of the image in pixels; None if it is not known.

        Raises:
            InputError: if `focal` of the view would make a side larger than 16384 or smaller than 16 pixels.
        """
        size = self.size or (height, width)
        if self.size is None and self.max_side is not None and max(size) > self.max_side:
            shrink = self.max_side / max(size)
            size = max(1, round(height * shrink)), max(1, round(width * shrink))
        if self.focal is None or focal is None:
            return size
        zoom = self.focal / (focal * size[1] / width)
        resized = round(size[0] * zoom), round(size[1] * zoom)
        large = max(resized) > LARGEST_SIDE
        if large or min(resized) < SMALLEST_SIDE:
            limit = f"more than {LARGEST_SIDE}" if large else f"less than {SMALLEST_SIDE}"
            raise InputError(
                f"view.focal {self.focal:g} would resize an image {width} pixels wide with a focal length of "
                f"{focal:g} pixels to {limit} pixels; set view.focal {'lower' if large else 'higher'}"
            )
        return resized

    def windows(self, height: int, width: int) -> Windows:
        """Return the windows of an image of the size that the model sees.

        Raises:
            InputError: if there are more than 10,000.
        """
        window = self.window or (height, width)
        windows = Windows((height, width), window, self.stride or (max(1, window[0] // 2), max(1, window[1] // 2)))
        if windows.count > MOST_WINDOWS:
            raise InputError(
                f"view.window {self.window} cuts an image of {height} x {width} into {windows.count} windows, more "
                f"than {MOST_WINDOWS}; set a larger view.window or view.stride"
            )
        return windows

    def upsample(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize coarse depth (B, V, h, w) to the (height, width) that the model saw."""
        return F.interpolate(coarse, size, mode="bilinear", align_corners=self.align_corners)
