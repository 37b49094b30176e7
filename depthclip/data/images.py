"""Image files decoded with Pillow: colours as 8-bit RGB, and depth values as they are stored."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from depthclip.data.paths import regular_file
from depthclip.data.samples import DataError

SKIP = "set loading.on_error: skip"
CHECK_LIST = f"check the data set's root and list, or {SKIP}"
AGAIN = f"fetch it again, or {SKIP}"
TURNS = {  # of the values of EXIF Orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")


def read_colours(path: Path, hint: str = CHECK_LIST) -> np.ndarray:
    """Return an image file as (H, W, 3) uint8 RGB, as an image viewer displays it.

    Args:
        path: file.
        hint: way to correct the error of a missing file.

    Raises:
        DataError: if it is missing, damaged, not an image, too large, or has values without a known range.
    """
    with opened(path, "image", hint) as image:
        return to_rgb(image, f"image {path}")


def read_values(path: Path) -> np.ndarray:
    """Return the values of a depth image, (H, W) or (H, W, C), in the type in which Pillow decodes them.

    Raises:
        DataError: if it is missing, damaged, not an image, or too large.
    """
    with opened(path, "depth map") as image:
        return np.array(image)


@contextmanager
def opened(path: Path, what: str, hint: str = CHECK_LIST) -> Iterator[Image.Image]:
    """Open and decode an image file, and apply its EXIF orientation.

    Args:
        path: file; of an animation, the first frame is used.
        what: description of the file, for the message.
        hint: way to correct the error of a missing file.

    Raises:
        DataError: if the file cannot be decoded.
    """
    regular_file(path, what, hint)
    try:
        with Image.open(path) as image:
            _check_header(image, path, what)
            image.load()
            yield upright(image)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        if path.suffix.lower() in VIDEOS:
            raise DataError(
                f"{what} {path} is a video; use `python -m depthclip video {path}` with the same recipe, or {SKIP}"
            ) from error
        raise DataError(
            f"{what} {path} cannot be read (its format is unknown or its header damaged); convert it to PNG, {AGAIN}"
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{what} {path} is too large ({error}); convert it to a smaller image of at most "
            f"{2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} million pixels, or {SKIP}"
        ) from error
    except MemoryError as error:
        raise DataError(f"{what} {path} needs more memory than there is; reduce it, or {SKIP}") from error
    except Exception as error:  # a damaged file may raise any exception
        raise DataError(f"{what} {path} cannot be read ({error}); {AGAIN}") from error


def to_rgb(image: Image.Image, what: str) -> np.ndarray:
    """Return a decoded image as (H, W, 3) uint8 RGB.

    Grey values of 16 bits are divided by 257, and transparent images are composited on white.

    Args:
        image: decoded image.
        what: description of the image, for the message.

    Raises:
        DataError: if the values are floating-point or have more than 16 bits, so that their range is unknown.
    """
    if image.mode == "F":
        raise DataError(f"{what} has floating-point values, whose range is unknown; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.array(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{what} has values beyond 16 bits, whose range is unknown; convert it to 8 bits")
        return np.repeat(((values + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def upright(image: Image.Image) -> Image.Image:
    """Return an image with its EXIF orientation applied; a damaged EXIF block is ignored, as viewers do."""
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged EXIF block may raise any exception
        return image
    return image if turn is None else image.transpose(turn)


def _check_header(image: Image.Image, path: Path, what: str) -> None:
    if image.format == "EPS":  # Pillow would run Ghostscript
        raise DataError(f"{what} {path} is PostScript, which is program code; convert it to PNG, or {SKIP}")
    least = image.width * image.height // 8  # bytes of an uncompressed image of 1 bit
    if image.format == "PPM" and path.stat().st_size < least:
        raise DataError(
            f"{what} {path} cannot be read (its header promises {image.height} x {image.width} pixels); {AGAIN}"
        )
