"""Match the depth maps in a folder with the samples of a data set by name."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from depthclip.data.paths import quoted
from depthclip.data.samples import DataError
from depthclip.depth_index import INDEX
from depthclip.file_names import COLOUR, PANEL, UNCERTAINTY, file_names, printable

SUFFIXES = (".npy", ".npz", ".tif", ".tiff", ".png")  # in the order of preference among the files of `predict`
FURTHER = (f"{COLOUR}.png", f"{PANEL}.png", f"{UNCERTAINTY}.npz")  # files of `predict` that are no depth maps
LISTED = 3  # names in a message


class Matched(NamedTuple):
    """The depth maps of N samples.

    Args:
        paths: a file for each sample.
        scales: values per metre that the index of `predict` states for each file; None without an entry.
        extra: files that belong to no sample, relative to the folder.
    """

    paths: list[Path]
    scales: list[float | None]
    extra: list[str]


class Rule(NamedTuple):
    """A way to match files with samples.

    Args:
        keys: the key of each sample.
        key_of: function that returns the key of a file, given by its path relative to the folder.
    """

    keys: list[str]
    key_of: Callable[[str], str]


def match(folder: Path, names: Sequence[str], suffix: str | None = None) -> Matched:
    """Return the depth map of each sample.

    A file belongs to a sample if the index of `predict` says so. Otherwise its path within the folder, without the
    suffix, must be the name of the sample with or without suffix; the name with `_` in place of `/`, as `predict`
    writes it; or the last part of the name, if no two samples share it. The first of these rules that finds all
    samples decides, or the rule that finds most.

    Args:
        folder: folder of the depth maps, with its subfolders.
        names: names of the samples.
        suffix: suffix of the files that count, such as `.npy`; None for all of `SUFFIXES`.

    Raises:
        DataError: if the folder has no depth map, a sample has none, or a sample has several.
    """
    files = list_maps(folder, suffix)
    index = read_index(folder)
    best = max(rules(names, index), key=lambda rule: len(set(rule.keys) & {rule.key_of(file) for file in files}))
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(best.key_of(file), []).append(file)
    missing = [k for k, key in enumerate(best.keys) if key not in found]
    if missing:
        shown = ", ".join(names[k] for k in missing[:LISTED])
        raise DataError(
            f"{len(missing)} of {len(names)} images have no depth map in {quoted(folder)}, such as {shown}; check the "
            f"names of the files, as in {PurePosixPath(names[missing[0]]).with_suffix('.npy')}, or restrict the data "
            "to the images that have one"
        )
    chosen = [only_one(found[key], name, folder, index) for key, name in zip(best.keys, names, strict=True)]
    keys = set(best.keys)
    extra = [file for file in files if best.key_of(file) not in keys]
    return Matched([folder / file for file in chosen], [index.get(file, ("", None))[1] for file in chosen], extra)


def rules(names: Sequence[str], index: dict[str, tuple[str, float | None]]) -> list[Rule]:
    """Return the rules that match files with samples, the most reliable first."""
    bare = [without_suffix(name) for name in names]
    last = [PurePosixPath(name).name for name in bare]
    possible = [
        Rule([*map(printable, names)], lambda file: index.get(file, ("", None))[0]),
        Rule(bare, without_suffix),
        Rule(list(names), without_suffix),
        Rule(file_names(names), without_suffix),
    ]
    if max(Counter(last).values()) == 1:
        possible.append(Rule(last, lambda file: PurePosixPath(without_suffix(file)).name))
    return possible


def only_one(files: Sequence[str], name: str, folder: Path, index: dict[str, tuple[str, float | None]]) -> str:
    """Return the depth map of a sample; among files of one `predict` run, the one with the most exact format.

    Raises:
        DataError: if other files compete.
    """
    if len(files) == 1:
        return files[0]
    if all(file in index for file in files) and len({without_suffix(file) for file in files}) == 1:
        return min(files, key=lambda file: SUFFIXES.index(PurePosixPath(file).suffix.lower()))
    raise DataError(
        f"{name} has {len(files)} depth maps in {quoted(folder)}: {', '.join(sorted(files)[:LISTED])}; set suffix to "
        "the suffix of those to score, or remove the others"
    )


def list_maps(folder: Path, suffix: str | None) -> list[str]:
    """Return the paths of all depth maps below a folder, relative to it; further files of `predict` are left out.

    Raises:
        DataError: if there are none, or a folder cannot be listed.
    """
    suffixes = SUFFIXES if suffix is None else (suffix,)

    def refuse(error: OSError) -> None:
        raise DataError(f"folder {quoted(folder)} cannot be listed ({error.strerror}); check its permissions")

    files = [
        Path(place, file).relative_to(folder).as_posix()
        for place, _, within in os.walk(folder, onerror=refuse)
        for file in within
        if file.lower().endswith(suffixes) and not file.endswith(FURTHER) and not file.startswith(".")
    ]
    if not files:
        raise DataError(
            f"folder {quoted(folder)} holds no depth map ({', '.join(suffixes)}); pass the folder that holds them"
        )
    return sorted(files)


def read_index(folder: Path) -> dict[str, tuple[str, float | None]]:
    """Return the image and the values per metre of each file that the index of `predict` lists, or {}."""
    try:
        maps = json.loads((folder / INDEX).read_bytes())["maps"]
        return {file: (str(entry["image"]), float(entry["depth_scale"])) for file, entry in maps.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no index, or the index of another program
        return {}


def without_suffix(name: str) -> str:
    """Return a path without its last suffix."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.name else name
