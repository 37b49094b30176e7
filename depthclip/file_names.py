"""Names of the files of samples."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

COLOUR, PANEL, UNCERTAINTY = ".colour", ".panel", ".uncertainty"
LONGEST = 180  # bytes; a file name may have 255, and suffixes are added to it


def file_names(names: Sequence[str]) -> list[str]:
    """Return a file name without suffix for each sample; no two are equal, on any file system.

    `a/b.jpg` becomes `a_b`. Samples that would share a name keep the suffix of the image; if they would still share it,
    a hash of the whole name is appended. The result depends only on the names.
    """
    assigned: dict[int, str] = {}
    taken: set[str] = set()
    forms: tuple[Callable[[int], str], ...] = (
        lambda k: _flat(str(PurePosixPath(names[k]).with_suffix("")) if PurePosixPath(names[k]).name else names[k]),
        lambda k: _flat(names[k]),
        lambda k: f"{_flat(names[k])}-{_digest(names[k])}",
        lambda k: f"{_flat(names[k])}-{_digest(names[k])}-{k}",
    )
    for form in forms:
        waiting = {k: form(k) for k in range(len(names)) if k not in assigned}
        counts = Counter(claim for name in waiting.values() for claim in _claims(name))
        unique = {
            k: name
            for k, name in waiting.items()
            if all(counts[claim] == 1 and claim not in taken for claim in _claims(name))
        }
        assigned.update(unique)
        taken.update(claim for name in unique.values() for claim in _claims(name))
    return [assigned[k] for k in range(len(names))]


def _flat(name: str) -> str:
    """Return a name without folders that is neither hidden nor too long."""
    parts = ("up" if part == ".." else part for part in name.replace("\0", "_").split("/") if part)
    flat = "_".join(parts) or "_"
    flat = f"_{flat[1:]}" if flat.startswith(".") else flat
    size = os.fsencode(flat)
    return flat if len(size) <= LONGEST else f"{os.fsdecode(size[: LONGEST - 24])}-{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:12]


def _claims(name: str) -> tuple[str, ...]:
    """Return the file names that a sample uses, with case folded because some file systems ignore case."""
    return tuple(f"{name}{suffix}".casefold() for suffix in ("", COLOUR, PANEL))


def printable(name: str) -> str:
    """Return a file name with characters escaped that UTF-8 cannot encode."""
    return name.encode("utf-8", "backslashreplace").decode()
