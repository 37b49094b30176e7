"""Check the rows of a report: the names of variants and published figures, and the values of published figures."""

from collections.abc import Iterable, Mapping

from depthclip.checks import check_choice, check_number
from depthclip.errors import InputError
from depthclip.evaluation.evaluation import BASELINES
from depthclip.evaluation.metrics import ERRORS, higher_is_better

HEAD = "head"
ARRAYS = ("errors", "rows", "alignment", "error", "higher", "image", "scene", "pixels")  # of errors.npz
RESERVED = (HEAD, *BASELINES, *ARRAYS, "file", "truth")
LONGEST = 200


def check_variants(names: Iterable[str]) -> None:
    """Raise if a variant has the name of another row, or a name that cannot be printed.

    Args:
        names: names of the variants.

    Raises:
        InputError: if a name is reserved, empty, too long, or not printable.
    """
    for name in names:
        _check_name("variants", name)
        if name.strip().casefold() in RESERVED:
            raise InputError(
                f"variants: the name {name!r} is reserved for the head, a baseline or an array of errors.npz; "
                "choose another name"
            )


def check_published(published: Mapping[str, Mapping[str, float]]) -> None:
    """Raise if a published row has no name, an unknown error, or a figure out of the range of its error.

    Args:
        published: figures by row and error.

    Raises:
        InputError: if a row or a figure is invalid.
    """
    for name, row in published.items():
        _check_name("published", name)
        if not isinstance(row, Mapping) or not row:
            raise InputError(f"published {name!r} is {row!r}; give figures by error, such as {{abs_rel: 0.388}}")
        for error, value in row.items():
            check_choice(f"published {name!r}: the error", error, ERRORS)
            share = higher_is_better(error)
            check_number(
                f"published {name!r}: {error}",
                value,
                at_least=0,
                at_most=1 if share else None,
                hint="give shares, not per cent" if share else "",
            )


def _check_name(where: str, name: str) -> None:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > LONGEST:
        shown = repr(name) if len(repr(name)) <= LONGEST else f"{repr(name)[:60]}... of {len(name)} characters"
        raise InputError(
            f"{where}: the name {shown} must be a text of 1 to {LONGEST} printable characters; choose another name"
        )
