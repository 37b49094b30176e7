"""Any images with depth maps."""

import csv
import io
import re
from functools import partial
from pathlib import Path
from typing import Any, Literal

from depthclip.checks import check_choice, check_count, check_number
from depthclip.data.augment import Augment
from depthclip.data.files import Entry, FocalOf, PairSamples, check_scale, read_depth
from depthclip.data.focal import LONGEST, SHORTEST, matrix_focal
from depthclip.data.images import SKIP
from depthclip.data.layouts import Repeated, listed_file
from depthclip.data.module import DepthDataModule, Loading, Shots, Split
from depthclip.data.paths import argument_path, data_folder, fault, read_list_text
from depthclip.data.samples import DataError, DepthDataset, Subset
from depthclip.errors import InputError
from depthclip.protocol import SCORINGS, VIEWS, Scoring, View

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Pairs(DepthDataModule):
    """Any images with depth maps, in files that match two patterns or are listed in a table.

    Dataset Format: images that PIL reads; depth as 16-bit PNG, PGM or TIFF, floating-point TIFF, or .npy, with `scale`
    values per metre.

    - Patterns: `image_pattern` and `depth_pattern` are globs below root with the same wildcards (`*`, `**/`). Files are
      joined if the wildcards match the same text, such as `*.color.jpg` and `*.depth.png`, or `rgb/*.jpg` and
      `gt/*.png`. If each split has a folder, write `{split}` in both patterns for train, val and test. The scene of an
      image is the text that all wildcards but the last match.
    - Table: a .csv file with a header and the columns `image` and `depth`, paths below root or absolute, and optionally
      `split` and `scene`. An image with an empty depth has no ground truth, and is used by `predict` only.

    Splits: without `{split}` or a split column, the first `train` images in the order of their names (or of the table)
    are for training, the next `val` images for validation, and the last `test` images for testing; `test: null` takes
    all remaining images. Consecutive frames of a video resemble each other; leave a gap, or split by recording.

    Args:
        root: folder of the files.
        image_pattern: glob of the images.
        depth_pattern: glob of the depth maps.
        table: path of the .csv file, instead of patterns.
        scale: depth values per metre: 1000 for millimetres, 256 for KITTI, 1 for metres.
        invalid: further values that stand for no depth, beside 0, negative and not finite values; 65535 in 7-Scenes.
        decode: decoding of depth values: `rotated` for the rotated bits of SUN RGB-D; `kinect` for the byte-swapped
            disparity in NYU's raw .pgm files, in millimetres.
        train: number of training images.
        val: number of validation images.
        test: number of test images; null for all remaining images.
        focal: focal length in pixels of the images, such as 886.81 for DIODE; or the path of a text file with the
            intrinsic matrix, relative to the folder of each image, such as `../intrinsics.txt` in SUN RGB-D; null if
            the focal length is unknown.
        view: part of an image that the model sees: a `View`, or the name of a preset.
        scoring: pixels that count: a `Scoring`, or the name of a preset.
        loading: batch size, worker processes, unreadable or unpaired files, and the order of training images.
        shots: number of training images, or a `Shots` with scenes and seed; null for all.
        augment: augmentation of training images and their depth; null for none.

    Raises:
        InputError: if an argument is out of range, or arguments contradict each other.
        DataError: at setup, if files are missing, do not join, or are too few for the splits.
    """

    def __init__(
        self,
        root: str = ".",
        image_pattern: str | None = None,
        depth_pattern: str | None = None,
        table: str | None = None,
        scale: float = 1000.0,
        invalid: tuple[float, ...] = (),
        decode: Literal["plain", "rotated", "kinect"] = "plain",
        train: int = 0,
        val: int = 0,
        test: int | None = None,
        focal: float | str | None = None,
        view: View | str = VIEWS["whole"],
        scoring: Scoring | str = SCORINGS["whole"],
        loading: Loading = Loading(),
        shots: Shots | int | None = None,
        augment: Augment | None = None,
    ) -> None:
        check_scale("scale", scale)
        for value in invalid:
            check_number("invalid", value, hint="values that are not finite never count")
        check_choice("decode", decode, ("plain", "rotated", "kinect"))
        for name, value in {"train": train, "val": val, "test": 0 if test is None else test}.items():
            check_count(name, value, at_least=0, unit="images")
        if isinstance(focal, str):
            argument_path("focal", focal)
        elif focal is not None:
            check_number("focal", focal, at_least=SHORTEST, at_most=LONGEST, unit="pixels", hint="use null if unknown")
        unit = f"scale {scale:g}"
        super().__init__(view, scoring, loading, shots, augment, unit)
        if (table is None) == (image_pattern is None or depth_pattern is None):
            given = f"image_pattern {image_pattern!r}, depth_pattern {depth_pattern!r} and table {table!r}"
            raise InputError(f"{given} do not fit together; give either both patterns, or the table")
        if image_pattern is not None and depth_pattern is not None:
            same_wildcards(image_pattern, depth_pattern)
        self.in_folders = image_pattern is not None and "{split}" in image_pattern
        if self.in_folders and (train or val or test is not None):
            raise InputError(
                f"train {train}, val {val} and test {test} are counts of a single folder; with {{split}} in the "
                "patterns leave them out"
            )
        self.root = argument_path("root", root)
        self.patterns = (image_pattern or "", depth_pattern or "")
        self.table = None if table is None else argument_path("table", table)
        self.counts = {"train": train, "val": val, "test": test}
        self.focal = focal
        self.read = partial(read_depth, scale=scale, invalid=tuple(invalid), decode=decode)

    def samples(self, split: Split) -> DepthDataset:
        """Return the images of a split.

        Raises:
            DataError: if there are none, or files are missing.
        """
        if self.table is not None:
            entries, splits = read_table(self.table, self.root)
            if splits is not None:
                members = [entry for entry, name in zip(entries, splits, strict=True) if name == split]
                return self._some(members, split)
        else:
            patterns = [pattern.replace("{split}", split) for pattern in self.patterns]
            entries = join(self.root, patterns[0], patterns[1], self.loading.on_error == "raise")
            if self.in_folders:
                return self._some(entries, split)
        return self._counted(entries, split)

    def has(self, split: Split) -> bool:
        """Return whether a split has images."""
        if self.table is not None:
            splits = read_table(self.table, self.root)[1]
            if splits is not None:
                return split in splits
        if self.in_folders:
            return bool(matches(self.root, self.patterns[0].replace("{split}", split), "image_pattern"))
        return split == "test" or bool(self.counts[split])

    def metadata(self) -> dict[str, Any]:
        """Return root, patterns or table, and number of images."""
        source = str(self.table) if self.table is not None else list(self.patterns)
        return {**super().metadata(), "root": str(self.root), "files": source}

    def _some(self, entries: list[Entry], split: str) -> DepthDataset:
        if not entries:
            raise DataError(
                f"no image of the {split} split is in {self.table or self.root}, but it is needed here; set split to "
                f"{split} in some lines, or set another table"
            )
        return PairSamples(entries, self.read, focal_of=self._focal_of(entries))

    def _focal_of(self, entries: list[Entry]) -> FocalOf:
        focal_of = partial(focal_beside, self.focal)
        if self.loading.on_error == "raise":
            focal_of(entries[0].image, (0, 0))  # raises an error before the work starts
        return focal_of

    def _counted(self, entries: list[Entry], split: Split) -> DepthDataset:
        train, val, test = self.counts["train"] or 0, self.counts["val"] or 0, self.counts["test"]
        left = len(entries) - train - val
        if left < (0 if test is None else test):
            raise DataError(
                f"the {len(entries)} images in {self.table or self.root} are fewer than train {train}, val {val} and "
                f"test {test} together; set smaller counts"
            )
        last = left if test is None else test
        places = {"train": (0, train), "val": (train, train + val), "test": (len(entries) - last, len(entries))}
        first, end = places[split]
        if first == end:
            raise DataError(
                f"{split} is 0 of {len(entries)} images in {self.root}; set {split} to how many to use for it"
            )
        return Subset(PairSamples(entries, self.read, focal_of=self._focal_of(entries)), range(first, end))


def focal_beside(focal: float | str | None, image: Path, size: tuple[int, int]) -> float | None:
    """Return the focal length in pixels of an image file; see the argument `focal` of `Pairs`."""
    return matrix_focal(image.parent / focal) if isinstance(focal, str) else focal


def join(root: Path, image_pattern: str, depth_pattern: str, strict: bool = True) -> list[Entry]:
    """Join images and depth maps whose wildcards match the same text, sorted by this text.

    Args:
        root: folder of the files.
        image_pattern: glob of the images.
        depth_pattern: glob of the depth maps.
        strict: raise if a file cannot be read or has no partner, instead of when its sample is read.

    Raises:
        DataError: if there are none, or, if strict, a file is missing or not a regular file.
    """
    data_folder(root, "root", "the folder of the files")
    images, depths = matches(root, image_pattern, "image_pattern"), matches(root, depth_pattern, "depth_pattern")
    for name, pattern, paths in (("image_pattern", image_pattern, images), ("depth_pattern", depth_pattern, depths)):
        if not paths:
            raise DataError(f"no file in {root} matches {name} {pattern}; set root or the pattern")
    entries = []
    for key in sorted(images.keys() | depths.keys()):
        image = images.get(key, root / expected(image_pattern, key))
        depth = depths.get(key, root / expected(depth_pattern, key))
        if strict:
            _complete(image, key in images, depth, key in depths)
        # all wildcards but the last are the scene, as in `*/rgb/*.png`
        entries.append(Entry(image, depth, str(image.relative_to(root)), "".join(key[:-1]).rstrip("/")))
    return entries


def _complete(image: Path, has_image: bool, depth: Path, has_depth: bool) -> None:
    go_on = f"or {SKIP} to go on without it"
    if not has_depth:
        raise DataError(f"image {image} has no depth map {depth}; complete the pair, set depth_pattern, {go_on}")
    if not has_image:
        raise DataError(f"depth map {depth} has no image {image}; complete the pair, set image_pattern, {go_on}")
    for what, path in (("image", image), ("depth map", depth)):
        if reason := fault(path):
            raise DataError(f"{what} {path} {reason}; fetch it, {go_on}")


def matches(root: Path, pattern: str, name: str) -> dict[tuple[str, ...], Path]:
    """Return the paths below root that match a glob, by the text that its wildcards match.

    Broken links are included. Folders are included only if the pattern has a suffix.

    Raises:
        InputError: if the pattern is not a glob.
    """
    form = re.compile(WILDCARD.sub(lambda wild: FORMS[wild[0]], re.sub(r"[.+^$()|{}\[\]]", r"\\\g<0>", pattern)))
    try:
        paths = list(root.glob(pattern))
    except (OSError, ValueError) as error:
        raise InputError(f"{name} {pattern!r} cannot be looked up ({error}); use wildcards * and **/ only") from error
    matching = {}
    for path in paths:
        match = form.fullmatch(path.relative_to(root).as_posix())
        if match and (Path(pattern).suffix or not path.is_dir()):
            matching[match.groups()] = path
    return matching


WILDCARD = re.compile(r"\*\*/|\*")
FORMS = {"**/": "((?:[^/]+/)*)", "*": "([^/]*)"}


def expected(pattern: str, key: tuple[str, ...]) -> str:
    """Return a pattern with its wildcards replaced by text."""
    parts = iter(key)
    return WILDCARD.sub(lambda _: next(parts), pattern)


def same_wildcards(image_pattern: str, depth_pattern: str) -> None:
    """Raise unless two patterns have the same wildcards.

    Raises:
        InputError: if they have different wildcards, or none.
    """
    for name, pattern in (("image_pattern", image_pattern), ("depth_pattern", depth_pattern)):
        path = Path(pattern)
        if "?" in pattern or "[" in pattern or path.is_absolute() or ".." in path.parts or "\0" in pattern:
            raise InputError(f"{name} {pattern!r} must lie below root and have no wildcards but * and **/")
    wild = [WILDCARD.findall(pattern) for pattern in (image_pattern, depth_pattern)]
    both = f"image_pattern {image_pattern!r} and depth_pattern {depth_pattern!r}"
    if wild[0] != wild[1] or not wild[0]:
        raise InputError(f"{both} must have the same wildcards, at least one, to show which files belong together")
    if ("{split}" in image_pattern) != ("{split}" in depth_pattern):
        raise InputError(f"{both} must have {{split}} in both or in none")


def read_table(path: Path, root: Path) -> tuple[list[Entry], list[str] | None]:
    """Return the files of a table, each of which must exist, and their splits if it has a split column.

    Raises:
        DataError: if the table is missing, lacks a column, has an unknown split or names an image twice, or if a file
            does not exist or lies outside root.
    """
    data_folder(root, "root", "the folder of the files")
    text = read_list_text(path, "table", "set table to a .csv file with the columns image and depth")
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise DataError(f"table {path} cannot be read ({error}); it must be a .csv file of text") from error
    if not rows or not {"image", "depth"} <= rows[0].keys():
        raise DataError(f"table {path} must have a header with the columns image and depth, and rows")
    entries = []
    repeated = Repeated()
    for number, row in enumerate(rows, 2):
        where = f"table {path} line {number}"
        if not row["image"]:
            raise DataError(f"{where} lacks an image; give its path, or remove the line")
        if None in row:
            raise DataError(f"{where} has more columns than the header; remove them, or quote paths with commas")
        repeated.check(row["image"], number, f"table {path}")
        image = listed_file(root, row["image"], where)
        depth = listed_file(root, row["depth"], where) if row["depth"] else None
        if "split" in row and row["split"] not in SPLITS:
            raise DataError(f"{where}: split {row['split']!r} is unknown; use one of {', '.join(SPLITS)}")
        entries.append(Entry(image, depth, row["image"], row.get("scene") or "", where))
    return entries, [row["split"] for row in rows] if "split" in rows[0] else None
