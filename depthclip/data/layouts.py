"""What the data modules do alike with what is on disk: recognise a layout, read a list, count, and hold some out."""

import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from depthclip.checks import check_choice
from depthclip.data.files import Entry
from depthclip.data.paths import fault, folder, read_text, shown
from depthclip.data.samples import DataError

NAMED = 3  # missing files in a message


def recognise(root: Path, layouts: Mapping[str, Sequence[tuple[str, str]]], layout: str = "auto") -> tuple[str, Path]:
    """Return the first layout that is found below a root, and the folder in which it lies.

    Args:
        root: where the data set is.
        layouts: by name, the (folder, pattern) pairs that tell it; one match is enough.
        layout: `auto`, or the only one to look for.

    Raises:
        DataError: if none is found: it lists what was looked for and where.
    """
    check_choice("layout", layout, ("auto", *layouts))
    folder(root, "root", "where the data set is")
    wanted = layouts if layout == "auto" else {layout: layouts[layout]}
    for name, places in wanted.items():
        for place, pattern in places:
            if any((root / place).glob(pattern)):
                return name, root / place
    looked = "; ".join(
        f"{name}: {' or '.join(str(Path(place) / pattern) for place, pattern in places)}"
        for name, places in wanted.items()
    )
    raise DataError(f"no layout that is known was found in root {root}, looked for {looked}; set root, or layout")


def read_list(path: Path, bases: Sequence[Path], depth_column: int = 1, name: str = "list") -> list[Entry]:
    """Return the images and depth maps of a list file, each of which must exist.

    Lines are `image depth ...`, by spaces (commas in a .csv file). Paths are below one of `bases`, also where they
    start with `/`, as BTS writes them; `None` is an image without truth. Further columns, such as a focal length, are
    not read.

    Args:
        path: the list.
        bases: folders; the first in which the first image lies is used for all.
        depth_column: which column names the depth map, counted from 0: some lists have dense depth in the third.
        name: name of the argument that names the list.

    Raises:
        DataError: if the list is missing, has too few columns, an image twice, or names a file that does not exist or
            lies outside the folders.
    """
    text = read_text(path, name, f"set {name} to a text file with a line for each image")
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
            told = f"{where} has {len(fields)} columns"
            raise DataError(f"{told}; column {depth_column + 1} must name the depth map")
        image, depth = fields[0].strip(), fields[depth_column].strip()
        repeated.check(image.lstrip("/"), number, f"{name} {path}")
        base = base or _base_of(image, bases, where)
        image_path = listed_file(base, image, where)
        depth_path = None if depth == "None" else listed_file(base, depth, where)
        entries.append(Entry(image_path, depth_path, image.lstrip("/"), image_path.parent.name, where))
    return entries


class Repeated:
    """Find what a list names twice; it would count twice."""

    def __init__(self) -> None:
        self.lines: dict[object, int] = {}

    def check(self, key: object, number: int, where: str) -> None:
        """Add what line `number` names.

        Raises:
            DataError: if an earlier line names the same.
        """
        first = self.lines.setdefault(key, number)
        if first != number:
            raise DataError(f"{where} line {number} names the same image as line {first}; remove one of them")


def listed_file(base: Path, name: str, where: str) -> Path:
    """Return the file that a line of a list or table names.

    Args:
        base: folder of relative paths.
        name: the path as written.
        where: list and line, for the message.

    Raises:
        DataError: if it is not a regular file, or a relative path leads out of the folder.
    """
    path = _below(base, name)
    absolute = Path(name).is_absolute() and path == Path(name)
    if not absolute and os.path.normpath(name.lstrip("/")).split(os.sep)[0] == "..":
        raise DataError(f"{where}: {shown(name)} leads out of {base}; set root, or give the absolute path")
    if reason := fault(path):
        raise DataError(f"{where}: {shown(path)} {reason}; fetch it, or remove the line")
    return path


def _below(base: Path, name: str) -> Path:
    # lists write paths below a root with a leading `/`, so only one that exists is taken as absolute
    absolute = Path(name)
    return absolute if absolute.is_absolute() and os.path.lexists(absolute) else base / name.lstrip("/")


def _base_of(name: str, bases: Sequence[Path], where: str) -> Path:
    for base in bases:
        if name and os.path.lexists(_below(base, name)):
            return base
    places = " or ".join(map(str, bases))
    raise DataError(f"{where}: {shown(name)} does not exist below {places}; set root to where the list's files are")


def check_complete(what: str, found: int, official: int, allow_partial: bool, missing: Sequence[str] = ()) -> None:
    """Raise or warn if a copy does not have the official number of images.

    Args:
        what: the split that was counted.
        found: images on disk.
        official: images there should be.
        allow_partial: whether to warn instead of raising.
        missing: what is missing and why, such as `image rgb_00000.jpg does not exist`, as far as it is known.

    Raises:
        DataError: if there are none, or not as many as there should be and that is not allowed.
    """
    if found == official:
        return
    told = f"{what} has {found} images of the official {official}"
    if missing:
        rest = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        told += f" ({', '.join(missing[:NAMED])}{rest})"
    if not found or not allow_partial:
        go_on = ", or set allow_partial: true to go on with these" if found else ""
        raise DataError(f"{told}; complete the copy{go_on}")
    warnings.warn(f"{told}; complete the copy to compare figures on it with published ones", stacklevel=2)


def hold_out(groups: Sequence[str], every: int) -> tuple[list[int], list[int]]:
    """Divide training images into those to train on and those to validate on, whole recordings at a time.

    Args:
        groups: the recording of each image; frames of one resemble each other too much to be on both sides. Where all
            are of one recording, every image stands for itself.
        every: about one in so many images is held out.

    Returns:
        The indices to train on and those held out, at least one.

    Raises:
        DataError: if there is a single image.
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
