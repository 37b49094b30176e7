"""Layouts of data sets on disk: recognition, lists of files, completeness, and held-out images."""

import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from depthclip.checks import check_choice
from depthclip.data.files import Entry
from depthclip.data.paths import data_folder, fault, quoted, read_list_text
from depthclip.data.samples import DataError

NAMED = 3  # missing files in a message


def recognise(root: Path, layouts: Mapping[str, Sequence[tuple[str, str]]], layout: str = "auto") -> tuple[str, Path]:
    """Return the name of the first layout that matches the files below a root, and its folder.

    Args:
        root: folder of the data set.
        layouts: by name, (folder, pattern) pairs; a layout is recognised by a match of any of them.
        layout: `auto`, or the name of the only layout to look for.

    Raises:
        DataError: if none matches; the message lists all patterns and folders.
    """
    check_choice("layout", layout, ("auto", *layouts))
    data_folder(root, "root", "where the data set is")
    candidates = layouts if layout == "auto" else {layout: layouts[layout]}
    for name, places in candidates.items():
        for place, pattern in places:
            if any((root / place).glob(pattern)):
                return name, root / place
    looked = "; ".join(
        f"{name}: {' or '.join(str(Path(place) / pattern) for place, pattern in places)}"
        for name, places in candidates.items()
    )
    raise DataError(f"no known layout is in root {root}, looked for {looked}; set root, or layout")


def read_list(path: Path, bases: Sequence[Path], depth_column: int = 1, name: str = "list") -> list[Entry]:
    """Return the images and depth maps of a list file, each of which must exist.

    Lines are `image depth ...`, separated by spaces, or by commas in a .csv file. Paths are below one of `bases`, even
    if they start with `/`, as in the lists of BTS; the depth `None` stands for an image without ground truth. Further
    columns, such as a focal length, are ignored.

    Args:
        path: list file.
        bases: folders; all paths are below the first that contains the first image.
        depth_column: column of the depth map, counted from 0; some lists have dense depth in the third.
        name: name of the argument of the list, for messages.

    Raises:
        DataError: if the list is missing, has too few columns, an image twice, or names a file that does not exist or
            lies outside the folders.
    """
    text = read_list_text(path, name, f"set {name} to a text file with a line for each image")
    separator = "," if path.suffix == ".csv" else None
    lines = [(number, line.split(separator)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"{name} {path} is empty; it must have a line `image depth` for each image")
    base: Path | None = None
    entries = []
    repeated = Repeated()
    for number, fields in lines:
        where = f"{name} {path} line {number}"
        if len(fields) <= depth_column:
            raise DataError(f"{where} has {len(fields)} columns; column {depth_column + 1} must name the depth map")
        image, depth = fields[0].strip(), fields[depth_column].strip()
        repeated.check(image.lstrip("/"), number, f"{name} {path}")
        base = base or _base_of(image, bases, where)
        image_path = listed_file(base, image, where)
        depth_path = None if depth == "None" else listed_file(base, depth, where)
        entries.append(Entry(image_path, depth_path, image.lstrip("/"), image_path.parent.name, where))
    return entries


class Repeated:
    """A check for images that a list names twice."""

    def __init__(self) -> None:
        self.lines: dict[object, int] = {}

    def check(self, key: object, number: int, where: str) -> None:
        """Add the image of line `number`.

        Raises:
            DataError: if an earlier line names the same image.
        """
        first = self.lines.setdefault(key, number)
        if first != number:
            raise DataError(f"{where} line {number} names the same image as line {first}; remove one of them")


def listed_file(base: Path, name: str, where: str) -> Path:
    """Return the file that a line of a list or table names.

    Args:
        base: folder of relative paths.
        name: path in the list.
        where: list and line, for messages.

    Raises:
        DataError: if it is not a regular file, or a relative path leads out of the folder.
    """
    path = _below(base, name)
    absolute = Path(name).is_absolute() and path == Path(name)
    if not absolute and os.path.normpath(name.lstrip("/")).split(os.sep)[0] == "..":
        raise DataError(f"{where}: {quoted(name)} leads out of {base}; set root, or give the absolute path")
    if reason := fault(path):
        raise DataError(f"{where}: {quoted(path)} {reason}; fetch it, or remove the line")
    return path


def _below(base: Path, name: str) -> Path:
    # paths in lists are below a root even with a leading `/`; only an existing absolute path is used as it is
    absolute = Path(name)
    return absolute if absolute.is_absolute() and os.path.lexists(absolute) else base / name.lstrip("/")


def _base_of(name: str, bases: Sequence[Path], where: str) -> Path:
    for base in bases:
        if name and os.path.lexists(_below(base, name)):
            return base
    places = " or ".join(map(str, bases))
    raise DataError(f"{where}: {quoted(name)} does not exist below {places}; set root to where the list's files are")


def check_complete(what: str, count: int, official: int, allow_partial: bool, missing: Sequence[str] = ()) -> None:
    """Raise or warn if a copy does not have the official number of images.

    Args:
        what: description of the split.
        count: number of images on disk.
        official: number of images of the official split.
        allow_partial: warn instead of raising.
        missing: reasons such as `image rgb_00000.jpg does not exist`, if known.

    Raises:
        DataError: if there are no images, or the number differs and allow_partial is false.
    """
    if count == official:
        return
    message = f"{what} has {count} images of the official {official}"
    if missing:
        rest = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        message += f" ({', '.join(missing[:NAMED])}{rest})"
    if not count or not allow_partial:
        go_on = ", or set allow_partial: true to go on with these" if count else ""
        raise DataError(f"{message}; complete the copy{go_on}")
    warnings.warn(f"{message}; complete the copy to compare figures on it with published ones", stacklevel=2)


def hold_out(groups: Sequence[str], every: int) -> tuple[list[int], list[int]]:
    """Split training images into images for training and images for validation without dividing a recording.

    Args:
        groups: recording of each image. Frames of a recording resemble each other, so that they must not be in both
            sets; if there is a single recording, its frames are split.
        every: about one of this number of images is held out.

    Returns:
        The indices for training, and the indices for validation, which are at least one.

    Raises:
        DataError: if there is only one image.
    """
    if len(groups) < 2:
        raise DataError("a training split of a single image leaves none to validate on; give more images")
    if len(set(groups)) == 1:
        groups = [str(index) for index in range(len(groups))]
    held, held_images, seen = set(), 0, 0
    sizes = Counter(groups)
    for group, size in sizes.items():
        seen += size
        if (held_images + size) * every <= seen:
            held.add(group)
            held_images += size
    held = held or {groups[-1]}
    validation = [index for index, group in enumerate(groups) if group in held]
    return [index for index, group in enumerate(groups) if group not in held], validation
