"""What the data modules do alike with what is on disk: recognise a layout, read a list, count, and hold some out."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from depthclip.data.base import DataError
from depthclip.data.files import Entry


def recognise(root: Path, layouts: Mapping[str, Sequence[tuple[str, str]]], layout: str = "auto") -> tuple[str, Path]:
    """The first layout that is found below a root, and the folder in which it lies.

    Args:
        root: where the data set is.
        layouts: by name, the (folder, pattern) pairs that tell it; one match is enough.
        layout: `auto`, or the only one to look for.

    Raises:
        DataError: if none is found: it lists what was looked for and where.
    """
    if layout != "auto" and layout not in layouts:
        raise ValueError(f"layout {layout!r} is not known; choose auto or one of {', '.join(layouts)}")
    wanted = layouts if layout == "auto" else {layout: layouts[layout]}
    for name, places in wanted.items():
        for folder, pattern in places:
            if any((root / folder).glob(pattern)):
                return name, root / folder
    if not root.is_dir():
        raise DataError(f"root {root} is not a folder; set root to where the data set is")
    looked = "; ".join(
        f"{name}: {' or '.join(str(Path(folder) / pattern) for folder, pattern in places)}"
        for name, places in wanted.items()
    )
    raise DataError(f"no layout that is known was found in root {root}, looked for {looked}; set root, or layout")


def read_list(path: Path, bases: Sequence[Path], depth_column: int = 1) -> list[Entry]:
    """The images and depth maps of a list file, each of which must exist.

    Lines are `image depth ...`, by spaces (commas in a .csv file). Paths are below one of `bases`, also where they
    start with `/`, as BTS writes them; `None` is an image without truth. Further columns, such as a focal length, are
    not read.

    Args:
        path: the list.
        bases: folders; the first in which the first image lies is used for all.
        depth_column: which column names the depth map, counted from 0: some lists have dense depth in the third.

    Raises:
        DataError: if the list is missing, has too few columns, or names a file that does not exist.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"list {path} cannot be read ({error}); check its path") from error
    separator = "," if path.suffix == ".csv" else None
    lines = [(number, line.split(separator)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"list {path} is empty; it needs a line `image depth` for each image")
    base: Path | None = None
    entries = []
    for number, fields in lines:
        if len(fields) <= depth_column:
            told = f"list {path} line {number} has {len(fields)} columns"
            raise DataError(f"{told}; column {depth_column + 1} must name the depth map")
        image, depth = fields[0].strip(), fields[depth_column].strip()
        base = base or _base_of(image, bases, f"list {path} line {number}")
        found = [_below(base, name) for name in (image, depth) if name != "None"]
        for file in found:
            if not file.is_file():
                raise DataError(f"list {path} line {number}: {file} does not exist; fetch it, or take the line out")
        entries.append(Entry(found[0], found[1] if len(found) > 1 else None, image.lstrip("/"), found[0].parent.name))
    return entries


def _below(base: Path, name: str) -> Path:
    # lists write paths below a root with a leading `/`, so only one that exists is taken as absolute
    absolute = Path(name)
    return absolute if absolute.is_absolute() and absolute.is_file() else base / name.lstrip("/")


def _base_of(name: str, bases: Sequence[Path], where: str) -> Path:
    for base in bases:
        if _below(base, name).is_file():
            return base
    places = " or ".join(map(str, bases))
    raise DataError(f"{where}: {name} does not exist below {places}; set root to where the list's files are")


def check_count(what: str, found: int, official: int, allow_partial: bool, missing: str = "") -> None:
    """Refuses a copy that has not the official number of images, or reports it where it is allowed.

    Args:
        what: the split that was counted.
        found: images on disk.
        official: images there should be.
        allow_partial: whether fewer will do.
        missing: the first image that is not there, for the message.

    Raises:
        DataError: if there are none, or not as many as there should be and that is not allowed.
    """
    if found == official:
        return
    told = f"{what} has {found} images of the official {official}" + (f", {missing} is not there" if missing else "")
    if not found or not allow_partial:
        go_on = ", or set allow_partial: true to go on with these" if found else ""
        raise DataError(f"{told}; complete the copy{go_on}")
    warnings.warn(f"{told}: figures on it do not compare with published ones", stacklevel=2)


def hold_out(groups: Sequence[str], every: int) -> tuple[list[int], list[int]]:
    """Divides training images into those to train on and those to validate on, whole recordings at a time.

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
