"""Check the ranges of arguments, so that NaN, infinite and absurdly large numbers raise an error early."""

import math
from collections.abc import Collection
from numbers import Integral, Real

from depthclip.errors import InputError

LARGEST_COUNT = 100_000_000  # a larger count is a mistake, and would exhaust the memory
LONGEST_TEXT = 160  # characters of a value in a message
LARGEST_SIDE = 16_384  # pixels; a square image of this side takes 3 GiB as float32
LARGEST_DEPTH = 1e6  # metres


def check_number(
    name: str,
    value: float,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str = "",
    hint: str = "",
) -> None:
    """Raise unless a number is finite and lies in its range.

    Args:
        name: name of the argument, as the user writes it.
        value: the number.
        above: exclusive lower bound.
        at_least: inclusive lower bound.
        at_most: inclusive upper bound.
        unit: unit of the number, such as `metres`.
        hint: the way out, such as `use null for none`.

    Raises:
        InputError: if the value is not a number, NaN, infinite, or out of the range.
    """
    bounds = []
    if above is not None:
        bounds.append(f"greater than {above:g}")
    if at_least is not None:
        bounds.append(f"at least {at_least:g}")
    if at_most is not None:
        bounds.append(f"at most {at_most:g}")
    inside = (
        isinstance(value, Real)  # also a number of NumPy
        and not isinstance(value, bool)
        and -math.inf < value < math.inf
        and (above is None or value > above)
        and (at_least is None or value >= at_least)
        and (at_most is None or value <= at_most)
    )
    if not inside:
        kind = f"a finite number of {unit}" if unit else "a finite number"
        expected = " ".join([kind, " and ".join(bounds)]).rstrip()
        raise InputError(f"{name} {brief(value)} must be {expected}" + (f"; {hint}" if hint else ""))


def check_count(
    name: str, value: int, *, at_least: int = 1, at_most: int = LARGEST_COUNT, unit: str = "", hint: str = ""
) -> None:
    """Raise unless a count is a whole number in its range.

    Args:
        name: name of the argument, as the user writes it.
        value: the count.
        at_least: the smallest count.
        at_most: the largest count.
        unit: what is counted, such as `images`.
        hint: the way out, such as `use null for all`.

    Raises:
        InputError: if the value is not a whole number or out of the range.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or not at_least <= value <= at_most:
        kind = f"a whole number of {unit}" if unit else "a whole number"
        raise InputError(
            f"{name} {brief(value)} must be {kind} from {at_least} to {at_most}" + (f"; {hint}" if hint else "")
        )


def check_choice(name: str, value: object, choices: Collection[str], hint: str = "") -> None:
    """Raise unless a value is one of the allowed names.

    Args:
        name: name of the argument, as the user writes it.
        value: the value.
        choices: the allowed names.
        hint: the way out besides these names, such as `or give a file`.

    Raises:
        InputError: if the value is none of the names; the message lists them.
    """
    if not isinstance(value, str) or value not in choices:
        raise InputError(
            f"{name} {brief(value)} is unknown; choose one of {', '.join(choices)}" + (f", {hint}" if hint else "")
        )


def brief(value: object) -> str:
    """Return the representation of a value on one line; a long representation is cut in the middle."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python refuses to write integers of more than 4300 digits
        return f"<{type(value).__name__} too large to write>"
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 30]} ... {text[-20:]}"


def check_pair(name: str, pair: object, expected: str) -> None:
    """Raise unless a value is a list or tuple of length 2.

    Args:
        name: name of the argument, as the user writes it.
        pair: the value.
        expected: description of the expected value, for the message.

    Raises:
        InputError: if the value has another type or length.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(f"{name} {pair!r} must be {expected}")


def check_crop(name: str, crop: object, presets: Collection[str]) -> None:
    """Raise unless a crop is null, a preset, or (top, left, bottom, right) of a box that is not empty.

    Args:
        name: name of the argument, as the user writes it.
        crop: the crop; a box is in pixels.
        presets: names of the presets.

    Raises:
        InputError: if the crop is anything else.
    """
    if crop is None:
        return
    if isinstance(crop, str):
        check_choice(name, crop, presets, "or give [top, left, bottom, right], or null")
        return
    sides = crop if isinstance(crop, tuple | list) else ()
    whole = all(isinstance(side, int) and not isinstance(side, bool) and 0 <= side <= LARGEST_COUNT for side in sides)
    if len(sides) != 4 or not whole or not (sides[0] < sides[2] and sides[1] < sides[3]):
        raise InputError(
            f"{name} {crop!r} must be [top, left, bottom, right] in pixels with top < bottom and left < right; "
            "use null for no crop"
        )
