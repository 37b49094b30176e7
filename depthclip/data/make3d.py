"""Make3D, in the folders in which copies are common."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from depthclip.checks import check_count
from depthclip.data.augment import Augment
from depthclip.data.files import Entry, PairSamples, check_depth_values, metres
from depthclip.data.images import AGAIN
from depthclip.data.layouts import check_complete, hold_out
from depthclip.data.module import DepthDataModule, Loading, Shots, Split
from depthclip.data.paths import argument_path, data_folder, fault, regular_file
from depthclip.data.samples import DataError, DepthDataset, Subset
from depthclip.protocol import SCORINGS, VIEWS, Scoring, View

COUNTS = {"train": 400, "test": 134}
# `name` is test or train, `Name` is Test134 or Train400; the folders of the official archives come first
IMAGES = (
    "{Name}",
    "{Name}Img",
    "{Name}/{Name}Img",
    "{Name}Img/{Name}Img",
    "{name}/image",
    "{name}/images",
    "{name}/rgb",
)
DEPTHS = (
    "{Name}Depth/Gridlaserdata",
    "{Name}Depth",
    "{Name}/Gridlaserdata",
    "Gridlaserdata",
    "{Name}Gridlaserdata",
    "{name}/depth",
    "{name}/Gridlaserdata",
)
GRID = "Position3DGrid"
PREFIX = "10.21"  # in the names of images, depth or both, in some copies


class Make3D(DepthDataModule):
    """Make3D: buildings and nature, 2272 x 1704 (portrait), with laser depth on a grid of 55 x 305.

    Dataset Format: images `img-*.jpg` in `Test134`, `Test134Img` or `test/image`, and `depth_sph_corr-*.mat` (MATLAB
    v5) in `Gridlaserdata`, `Test134Depth`, `Test134Depth/Gridlaserdata` or `test/depth`; training folders have
    `Train400` and `train` in their names. Images and depth are joined by the end of their names. Depth is
    `Position3DGrid[..., 3]`, the distance in metres. The grid spans the whole image; predictions are resampled to it.

    Dataset Features: 400 images for training and 134 for testing, up to about 81 m.

    Protocols: C1 scores depth between 0 and 70 m, C2 depth up to 80 m. The view `2:1` is the centre of the image, rows
    17 to 38 of the grid, as in self-supervised work, which scales each prediction by the ratio of the medians
    (`Scoring.alignment`). "rmse log" in the literature has the natural logarithm, as `rmse_log` here, or base 10,
    as in Monodepth2, which is rmse_log / ln 10 = 0.4343 rmse_log. `log10` is the mean |log10 p - log10 g|.

    Licence: its authors name none; research use is customary. Citation: Saxena et al., IJCV 2008 and TPAMI 2009,
    http://make3d.cs.cornell.edu/data.html

    Args:
        root: folder of the data set.
        images: folder of the test images, below root; null for the folders above.
        depths: folder of the test depth, below root; null for the folders above.
        allow_partial: warn instead of raising an error if official images are missing.
        val_every: hold out one of this number of training images for validation.
        view: part of an image that the model sees: a `View`, or the name of a preset.
        scoring: pixels that count: a `Scoring`, or the name of a preset.
        loading: batch size, worker processes, unreadable files, and the order of training images.
        shots: number of training images, or a `Shots` with a seed; null for all.
        augment: augmentation of training images and their depth; null for none.

    Raises:
        InputError: if an argument is out of range.
        DataError: at setup, if files are missing.
    """

    def __init__(
        self,
        root: str = "data/make3d",
        images: str | None = None,
        depths: str | None = None,
        allow_partial: bool = False,
        val_every: int = 10,
        view: View | str = VIEWS["make3d"],
        scoring: Scoring | str = SCORINGS["make3d_c1"],
        loading: Loading = Loading(batch_size=4),
        shots: Shots | int | None = None,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(view, scoring, loading, shots, augment)
        check_count("val_every", val_every, at_least=2, unit="images")
        self.root = argument_path("root", root)
        self.images = None if images is None else argument_path("images", images)
        self.depths = None if depths is None else argument_path("depths", depths)
        self.allow_partial = allow_partial
        self.val_every = val_every
        self.folders: dict[str, list[str]] = {}

    def samples(self, split: Split) -> DepthDataset:
        """Return the images of a split.

        Raises:
            DataError: if files are missing.
        """
        if split == "test":
            return self._whole("test")
        whole = self._whole("train")
        kept, held = hold_out([whole.name(index) for index in range(len(whole))], self.val_every)
        return Subset(whole, kept if split == "train" else held)

    def metadata(self) -> dict[str, Any]:
        """Return root, folders of images and depth, and number of images."""
        return {**super().metadata(), "root": str(self.root), "folders": self.folders}

    def _whole(self, split: Literal["train", "test"]) -> DepthDataset:
        data_folder(self.root, "root", "where the data set is")
        given = (self.images, self.depths) if split == "test" else (None, None)
        images = self._folder("images", split, given[0], IMAGES, "img-*.jpg")
        depths = self._folder("depths", split, given[1], DEPTHS, "depth_sph_corr-*.mat")
        self.folders[split] = [self._inside(images), self._inside(depths)]
        truths = {tail(path): path for path in depths.glob("depth_sph_corr-*.mat")}
        entries, missing = [], []
        for image in sorted(images.glob("img-*.jpg")):
            depth = truths.pop(tail(image), None)
            if depth is None:
                missing.append(f"the depth of {image} does not exist")
            elif absent := [f"{path} {reason}" for path in (image, depth) if (reason := fault(path))]:
                missing += absent[:1]
            else:
                entries.append(Entry(image, depth, image.name))
        missing += [f"the image of {depth} does not exist" for depth in truths.values()]
        what = f"the {split} split in {images}"
        check_complete(what, len(entries), COUNTS[split], self.allow_partial, missing)
        return PairSamples(entries, read_laser_grid, grid=True)

    def _folder(self, name: str, split: str, given: Path | None, candidates: tuple[str, ...], pattern: str) -> Path:
        if given is not None:
            if not any((self.root / given).glob(pattern)):
                raise DataError(f"{name} {given} has no {pattern}; set {name} to their folder, below root or absolute")
            return self.root / given
        names = {"name": split, "Name": {"train": "Train400", "test": "Test134"}[split]}
        places = [candidate.format(**names) for candidate in candidates]
        for place in places:
            if any((self.root / place).glob(pattern)):
                return self.root / place
        raise DataError(
            f"no {name} {pattern} of the {split} split in root {self.root}, looked in {' or '.join(places)}; set root, "
            f"or {name}"
        )

    def _inside(self, path: Path) -> str:
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


def tail(path: Path) -> str:
    """Return the part of a name that image and depth share, `op36-p-251t000` of `img-10.21op36-p-251t000.jpg`."""
    return path.stem.partition("-")[2].removeprefix(PREFIX)


def read_laser_grid(path: Path) -> Tensor:
    """Return the distances of a Make3D .mat file, (55, 305) float32 metres, 0 = invalid.

    Raises:
        DataError: if it is missing, truncated, or not such a file.
    """
    from scipy.io import loadmat

    regular_file(path, "depth", f"complete the copy, or {AGAIN}")
    try:
        # some of the official files are complete, but have further bytes at the end
        grid = loadmat(path, variable_names=[GRID], verify_compressed_data_integrity=False)[GRID]
    except Exception as error:  # a broken .mat may raise any exception
        raise DataError(f"depth {path} cannot be read ({error!r}); {AGAIN}") from error
    if not isinstance(grid, np.ndarray) or grid.ndim != 3 or grid.shape[-1] != 4:
        shape = getattr(grid, "shape", None)
        raise DataError(f"depth {path} has a {GRID} of shape {shape}, not (rows, columns, 4); {AGAIN}")
    check_depth_values(grid[..., 3], f"depth {path} {GRID}")
    return metres(grid[..., 3])
