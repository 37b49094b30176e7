"""The focal length of a pinhole camera, in pixels of an image."""

import math

from depthclip.checks import check_number

NARROWEST, WIDEST = 1.0, 179.0  # degrees
SHORTEST, LONGEST = 1.0, 1e6  # pixels


def focal_length(width: float, fov: float) -> float:
    """Return the focal length in pixels of an image, (width / 2) / tan(fov / 2).

    Args:
        width: width of the image in pixels.
        fov: field of view across the width, in degrees, from 1 to 179.

    Raises:
        InputError: if the field of view is out of its range.
    """
    check_fov("fov", fov)
    return width / 2 / math.tan(math.radians(fov / 2))


def check_fov(name: str, fov: float, hint: str = "") -> None:
    """Raise unless a number is a possible field of view.

    Raises:
        InputError: with the argument and its value.
    """
    check_number(name, fov, at_least=NARROWEST, at_most=WIDEST, unit="degrees", hint=hint)


def check_focal(name: str, focal: float, hint: str = "") -> None:
    """Raise unless a number is a possible focal length in pixels.

    Raises:
        InputError: with the argument and its value.
    """
    check_number(name, focal, at_least=SHORTEST, at_most=LONGEST, unit="pixels", hint=hint)
