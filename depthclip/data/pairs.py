"""Images and depth maps of one's own."""

import csv
import re
from functools import partial
from pathlib import Path
from typing import Any, Literal

from depthclip.data.augment import Augment
from depthclip.data.base import Chosen, DataError, DepthDataModule, DepthDataset, Split
from depthclip.data.files import Entry, PairSamples, read_depth
from depthclip.evaluation.protocol import Scoring, View

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Pairs(DepthDataModule):
    """Any images with depth maps: two patterns of file names, or a table.

    Dataset Format: images that PIL reads; depth as 16-bit PNG, PGM or TIFF, floating-point TIFF, or .npy, `scale`
    values a metre.

    - Patterns: `image_pattern` and `depth_pattern` are globs below root with as many wildcards (`*`, `**/`) in both;
      files are joined where the wildcards stand for the same text, as `*.color.jpg` and `*.depth.png`, or `rgb/*.jpg`
      and `gt/*.png`. `{split}` in both stands for train, val and test, for splits in folders of their own.
    - Table: a .csv with a header, columns `image` and `depth` (paths below root, or absolute; an empty depth has no
      truth) and, where wanted, `split` and `scene`.

    Splits: without `{split}` or a split column, the first `train` images in the order of their names (or of the table)
        are for
    training, the `val` after them for validation, and the last `test` for testing; `test: null` takes all that are
    left. Frames of a video resemble their neighbours: leave a gap, or better, split by recording.

    Args:
        root: folder of the files.
        image_pattern: glob of the images.
        depth_pattern: glob of the depth maps.
        table: path of the .csv, instead of patterns.
        scale: depth values a metre: 1000 for millimetres, 256 for KITTI, 1 for metres.
        invalid: values that mean no depth, beside 0, negative and not finite ones; 65535 in 7-Scenes.
        decode: what is done to depth values first: `rotated` turns back the bits of SUN RGB-D; `kinect` reads the
            byte-swapped disparity of NYU's raw .pgm files as millimetres.
        train: how many images, the first, are for training.
        val: how many images, those after the training images, are for validation.
        test: how many images, the last, are for testing; null for all that are left.
        view: what the model sees: a preset's name or a View.
        scoring: which pixels count: a preset's name or a Scoring.
        batch_size: images a batch; they may differ in size.
        num_workers: processes that read; 0 reads in the main one.
        on_error: what an unreadable file does: `raise` its error, or `skip` it, name it and count it.
        augment: what training changes in image and depth together; null for nothing.
        shots: how many training images are used, of each scene or in all; null for all there are.
        shots_per_scene: whether `shots` counts for each scene: the table's column, or what all but the last wildcard
            stand for.
        seed: of the choice of shots.

    Raises:
        ValueError: if an argument is not in its range, or arguments contradict each other.
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
        view: View | str = "whole",
        scoring: Scoring | str = "whole",
        batch_size: int = 8,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        augment: Augment | None = None,
        shots: int | None = None,
        shots_per_scene: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(view, scoring, batch_size, num_workers, on_error, augment, shots, shots_per_scene, seed)
        if (table is None) == (image_pattern is None or depth_pattern is None):
            raise ValueError("give either image_pattern and depth_pattern, or table")
        if scale <= 0:
            raise ValueError(f"scale {scale} must be positive: depth values a metre")
        if min(train, val, 0 if test is None else test) < 0:
            raise ValueError(f"train {train}, val {val} and test {test} must not be negative")
        if image_pattern is not None and depth_pattern is not None:
            same_wildcards(image_pattern, depth_pattern)
        self.in_folders = image_pattern is not None and "{split}" in image_pattern
        if self.in_folders and (train or val or test is not None):
            raise ValueError(
                "train, val and test are counts of one folder; with {split} in the patterns leave them out"
            )
        self.root = Path(root).expanduser()
        self.patterns = (image_pattern or "", depth_pattern or "")
        self.table = None if table is None else Path(table).expanduser()
        self.counts = {"train": train, "val": val, "test": test}
        self.read = partial(read_depth, scale=scale, invalid=tuple(invalid), decode=decode)

    def samples(self, split: Split) -> DepthDataset:
        """The images of a split.

        Raises:
            DataError: if there are none, or files are missing.
        """
        if self.table is not None:
            entries, splits = read_table(self.table, self.root)
            if splits is not None:
                return self._some([entry for entry, own in zip(entries, splits, strict=True) if own == split], split)
        else:
            entries = join(self.root, *(pattern.replace("{split}", split) for pattern in self.patterns))
            if self.in_folders:
                return self._some(entries, split)
        return self._counted(entries, split)

    def has(self, split: Split) -> bool:
        """Whether there are images of a split."""
        if self.table is not None:
            splits = read_table(self.table, self.root)[1]
            if splits is not None:
                return split in splits
        if self.in_folders:
            return bool(matches(self.root, self.patterns[0].replace("{split}", split)))
        return split == "test" or bool(self.counts[split])

    def found(self) -> dict[str, Any]:
        """What was found on disk: root, patterns or table, and counts."""
        source = str(self.table) if self.table is not None else list(self.patterns)
        return {**super().found(), "root": str(self.root), "files": source}

    def _some(self, entries: list[Entry], split: str) -> DepthDataset:
        if not entries:
            raise DataError(f"there is no image of the {split} split in {self.table or self.root}; it is needed here")
        return PairSamples(entries, self.read)

    def _counted(self, entries: list[Entry], split: Split) -> DepthDataset:
        train, val, test = self.counts["train"] or 0, self.counts["val"] or 0, self.counts["test"]
        left = len(entries) - train - val
        if left < (0 if test is None else test):
            raise DataError(
                f"{len(entries)} images in {self.root} are fewer than train {train}, val {val} and test {test}"
            )
        last = left if test is None else test
        places = {"train": (0, train), "val": (train, train + val), "test": (len(entries) - last, len(entries))}
        first, end = places[split]
        if first == end:
            raise DataError(
                f"{split} is 0 of {len(entries)} images in {self.root}; set {split} to how many to use for it"
            )
        return Chosen(PairSamples(entries, self.read), range(first, end))


def join(root: Path, image_pattern: str, depth_pattern: str) -> list[Entry]:
    """Joins images and depth maps whose wildcards stand for the same text, sorted by it.

    Raises:
        DataError: if there are none, or one has no partner.
    """
    images, depths = matches(root, image_pattern), matches(root, depth_pattern)
    if not images:
        raise DataError(f"no file in {root} matches image_pattern {image_pattern}; set root or the pattern")
    for key in images:
        if key not in depths:
            wanted = expected(depth_pattern, key)
            raise DataError(
                f"image {images[key]} has no depth map {root / wanted}; complete the pair, or set depth_pattern"
            )
    # all but the last wildcard tell the scene: `*/rgb/*.png`
    return [
        Entry(image, depths[key], str(image.relative_to(root)), "".join(key[:-1]).rstrip("/"))
        for key, image in sorted(images.items())
    ]


def matches(root: Path, pattern: str) -> dict[tuple[str, ...], Path]:
    """The files below root that match a glob, by what its wildcards stand for."""
    form = re.compile(WILDCARD.sub(lambda wild: FORMS[wild[0]], re.sub(r"[.+^$()|{}\[\]]", r"\\\g<0>", pattern)))
    found = {}
    for path in root.glob(pattern):
        match = form.fullmatch(path.relative_to(root).as_posix())
        if match and path.is_file():
            found[match.groups()] = path
    return found


WILDCARD = re.compile(r"\*\*/|\*")
FORMS = {"**/": "((?:[^/]+/)*)", "*": "([^/]*)"}


def expected(pattern: str, key: tuple[str, ...]) -> str:
    """A pattern with its wildcards filled in."""
    parts = iter(key)
    return WILDCARD.sub(lambda _: next(parts), pattern)


def same_wildcards(image_pattern: str, depth_pattern: str) -> None:
    """Refuses patterns that cannot be joined.

    Raises:
        ValueError: if they have other wildcards, or none.
    """
    for pattern in (image_pattern, depth_pattern):
        if "?" in pattern or "[" in pattern or Path(pattern).is_absolute():
            raise ValueError(f"pattern {pattern!r} must lie below root and have no wildcards but * and **/")
    wild = [WILDCARD.findall(pattern) for pattern in (image_pattern, depth_pattern)]
    if wild[0] != wild[1] or not wild[0]:
        both = f"image_pattern {image_pattern!r} and depth_pattern {depth_pattern!r}"
        raise ValueError(f"{both} must have the same wildcards, at least one, to tell which belong together")
    if ("{split}" in image_pattern) != ("{split}" in depth_pattern):
        raise ValueError("{split} must be in both patterns or in none")


def read_table(path: Path, root: Path) -> tuple[list[Entry], list[str] | None]:
    """The files of a table, each of which must exist, and their splits where it says so.

    Raises:
        DataError: if the table is missing, lacks a column, names another split, or a file does not exist.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"table {path} cannot be read ({error}); check its path") from error
    if not rows or not {"image", "depth"} <= rows[0].keys():
        raise DataError(f"table {path} needs a header with the columns image and depth, and rows")
    entries = []
    for number, row in enumerate(rows, 2):
        where = f"table {path} line {number}"
        if not row["image"] or not row["depth"]:
            raise DataError(
                f"{where} lacks an image or a depth map; use the data module Photos for images without truth"
            )
        image, depth = root / row["image"], root / row["depth"]
        for file_path in (image, depth):
            if not file_path.is_file():
                raise DataError(f"{where}: {file_path} does not exist; set root, or take the line out")
        if "split" in row and row["split"] not in SPLITS:
            raise DataError(f"{where}: split {row['split']!r} is none of {', '.join(SPLITS)}")
        entries.append(Entry(image, depth, row["image"], row.get("scene") or ""))
    return entries, [row["split"] for row in rows] if "split" in rows[0] else None
