"""Focal lengths in pixels: constants of data sets, intrinsic matrices in text files, and EXIF blocks."""

import math
from pathlib import Path

from PIL import ExifTags, Image

from depthclip.data.paths import read_list_text
from depthclip.data.samples import DataError

NYU_FOCAL, NYU_WIDTH = 518.8579, 640
# P_rect_02 and P_rect_03 of the calibration of each day, also the third column of the lists of BTS
KITTI_FOCAL = {
    "2011_09_26": 721.5377,
    "2011_09_28": 707.0493,
    "2011_09_29": 718.3351,
    "2011_09_30": 707.0912,
    "2011_10_03": 718.856,
}
FILM = math.hypot(36, 24)  # millimetres, the diagonal of a frame of 35-mm film
SHORTEST, LONGEST = 1.0, 1e6  # pixels


def nyu_focal(width: int) -> float:
    """Return the focal length of NYU Depth V2 in pixels of an image of a width; 518.8579 for 640 (its toolbox)."""
    return NYU_FOCAL * width / NYU_WIDTH


def kitti_focal(recording: str) -> float | None:
    """Return the focal length of the rectified images of a KITTI recording in pixels; None for an unknown day.

    Args:
        recording: name that starts with the day, such as `2011_09_26_drive_0002_sync`.
    """
    return KITTI_FOCAL.get(recording[:10])


def matrix_focal(path: Path) -> float:
    """Return the focal length in pixels in a text file of an intrinsic matrix, such as SUN RGB-D's `intrinsics.txt`.

    Args:
        path: text file of a 3 x 3 or 4 x 4 matrix, row by row; the first number is the horizontal focal length.

    Raises:
        DataError: if the file is missing, or holds no such matrix.
    """
    text = read_list_text(path, "focal", "set focal to the path of a text file with the intrinsic matrix, or to null")
    try:
        numbers = [float(number) for number in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) not in (9, 16) or not SHORTEST <= numbers[0] <= LONGEST:
        raise DataError(
            f"focal {path} must hold an intrinsic matrix of 3 x 3 or 4 x 4 numbers that starts with a focal length of "
            f"{SHORTEST:g} to {LONGEST:g} pixels; fetch it again, or set focal to null"
        )
    return numbers[0]


def exif_focal(path: Path, size: tuple[int, int]) -> float | None:
    """Return the focal length of a photograph in pixels, from its header; None if the header does not state it.

    Args:
        path: image file.
        size: (height, width) of the image in pixels.
    """
    try:
        with Image.open(path) as image:
            return film_focal(image, size)
    except Exception:  # the image itself may be damaged, which is reported where it is decoded
        return None


def film_focal(image: Image.Image, size: tuple[int, int]) -> float | None:
    """Return the focal length of a photograph in pixels, from its EXIF block; None if the block does not state it.

    The 35-mm equivalent f of EXIF, FocalLengthIn35mmFilm, has the same field of view along the diagonal on film of
    36 x 24 mm: f / 43.27 mm times the diagonal in pixels. It does not hold for photographs that were cropped later.

    Args:
        image: photograph.
        size: (height, width) of the image in pixels.
    """
    try:
        equivalent = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
        focal = float(equivalent or 0) / FILM * math.hypot(*size)
    except Exception:  # a damaged EXIF block may raise any exception, and hides no other part of the image
        return None
    return focal if SHORTEST <= focal <= LONGEST else None
