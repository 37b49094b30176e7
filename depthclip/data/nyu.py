"""NYU Depth V2, in the layouts in which copies are common."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from depthclip.checks import check_choice, check_count
from depthclip.data.augment import Augment
from depthclip.data.files import Entry, PairSamples, check_scale, read_depth
from depthclip.data.focal import nyu_focal
from depthclip.data.hdf5 import FrameSamples
from depthclip.data.layouts import check_complete, hold_out, read_list, recognise
from depthclip.data.module import DepthDataModule, Loading, Shots, Split
from depthclip.data.nyu_mat import COUNTS, LabelledSamples, scene_types, splits_of
from depthclip.data.nyu_scenes import recordings, scene_type
from depthclip.data.paths import argument_path, fault
from depthclip.data.samples import DataError, DepthDataset, Subset
from depthclip.data.splits import nyu_labelled
from depthclip.protocol import SCORINGS, VIEWS, Scoring, View

MOST_COLUMNS = 1000
LAYOUTS = {
    "labelled": ((".", "nyu_depth_v2_labeled.mat"),),
    "official_splits": (("official_splits", "t*/*/rgb_*.jpg"), (".", "t*/*/rgb_*.jpg")),
    "sync": (("sync", "*/rgb_*.jpg"), (".", "*/rgb_*.jpg")),
    "hdf5": (("nyudepthv2", "*/*/*.h5"), ("data", "*/*/*.h5"), (".", "*/*/*.h5"), (".", "*.h5")),
}


class NYU(DepthDataModule):
    """NYU Depth V2: indoor scenes recorded with a Kinect, 480 x 640.

    Dataset Format: one of these layouts:

    - `labelled`: `nyu_depth_v2_labeled.mat` (MATLAB v7.3, float32 metres) and `splits.mat` (counted from 1; without
      it, the list of this package is used);
    - `official_splits`: `official_splits/{train,test}/TYPE/rgb_%05d.jpg` of BTS with `sync_depth_%05d.png` (uint16
      millimetres, 0 = invalid) and, for filled depth, `dense/sync_depth_dense_%05d.png` beside them, counted from 0;
    - `sync`: training folders of BTS, `sync/SCENE/rgb_%05d.jpg` and `sync_depth_%05d.png`; the test images are those of
      `official_splits`;
    - `hdf5`: `{train,val}/SCENE/*.h5` with `rgb` (3, 480, 640) uint8 and `depth` (480, 640) float32 metres; `val` is
      the test split; a folder that contains such files directly is a test split, too.

    A list file takes precedence over the layout for its split.

    Dataset Features: 795 labelled frames for training and 654 for testing, of 27 types of scene; 24,231 frames in the
    training list of BTS, 47,584 in `hdf5`. Raw depth has holes (a quarter to a third of the pixels), filled depth has
    none; figures on the two differ. The focal length is 518.8579 pixels.

    Licence: its authors name none; research use is customary. Citation: Silberman et al., ECCV 2012,
    https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html

    Args:
        root: folder of the data set.
        layout: name of the layout; `auto` recognises it from the files.
        depth: `raw` depth of the sensor, with holes (`rawDepths`, `sync_depth`), or `filled` depth, in-painted
            (`depths`, `dense`).
        train_list: list file of training images with a line `image depth ...` for each, and paths below root or the
            folder of the split; null for the layout.
        val_list: list file of validation images; null to hold out recordings of the training split.
        test_list: list file of test images; null for the layout.
        depth_column: column of the depth map in the lists, counted from 0.
        depth_scale: values of the depth PNG per metre.
        allow_partial: warn instead of raising an error if official images are missing.
        val_every: hold out about one of this number of training images for validation, without dividing a recording;
            there is no official validation split.
        view: part of an image that the model sees: a `View`, or the name of a preset.
        scoring: pixels that count: a `Scoring`, or the name of a preset.
        loading: batch size, worker processes, unreadable files, and the order of training images.
        shots: number of training images, or a `Shots`, whose scenes are types of scene; null for all.
        augment: augmentation of training images and their depth; null for none.

    Raises:
        InputError: if an argument is out of range.
        DataError: at setup, if files are missing.
    """

    def __init__(
        self,
        root: str = "data/nyu",
        layout: Literal["auto", "labelled", "official_splits", "sync", "hdf5"] = "auto",
        depth: Literal["raw", "filled"] = "raw",
        train_list: str | None = None,
        val_list: str | None = None,
        test_list: str | None = None,
        depth_column: int = 1,
        depth_scale: float = 1000.0,
        allow_partial: bool = False,
        val_every: int = 10,
        view: View | str = VIEWS["depthclip_nyu"],
        scoring: Scoring | str = SCORINGS["depthclip_nyu"],
        loading: Loading = Loading(),
        shots: Shots | int | None = None,
        augment: Augment | None = None,
    ) -> None:
        check_scale("depth_scale", depth_scale)
        check_count("depth_column", depth_column, at_most=MOST_COLUMNS, hint="column 0 names the image")
        check_count("val_every", val_every, at_least=2, unit="images")
        check_choice("layout", layout, ("auto", *LAYOUTS))
        check_choice("depth", depth, ("raw", "filled"))
        unit = f"depth_scale {depth_scale:g}"
        super().__init__(view, scoring, loading, shots, augment, unit)
        self.root = argument_path("root", root)
        self.layout = layout
        self.depth = depth
        lists = {"train": train_list, "val": val_list, "test": test_list}
        self.lists = {
            split: None if path is None else argument_path(f"{split}_list", path) for split, path in lists.items()
        }
        self.depth_column = depth_column
        self.depth_scale = depth_scale
        self.allow_partial = allow_partial
        self.val_every = val_every
        self.layouts: dict[str, str] = {}

    def samples(self, split: Split) -> DepthDataset:
        """Return the images of a split, from its list or from the layout below root.

        Raises:
            DataError: if files are missing.
        """
        if split == "test":
            return self._whole("test")
        if split == "val" and self.lists["val"] is not None:
            return self._listed(self.lists["val"], "val")
        whole = self._whole("train")
        if self.lists["val"] is not None:
            return whole
        kept, held = hold_out(recordings(whole), self.val_every)
        return Subset(whole, kept if split == "train" else held)

    def metadata(self) -> dict[str, Any]:
        """Return root, layout of each split, kind of depth, and number of images."""
        return {**super().metadata(), "root": str(self.root), "layout": self.layouts, "depth": self.depth}

    def _whole(self, split: Literal["train", "test"]) -> DepthDataset:
        path = self.lists[split]
        return self._official(split) if path is None else self._listed(path, split)

    def _listed(self, path: Path, split: Split) -> DepthDataset:
        self.layouts[split] = f"list {path}"
        bases = [self.root, self.root / "official_splits" / split, self.root / split, self.root / "sync"]
        entries = read_list(path, bases, self.depth_column, f"{split}_list")
        return PairSamples(
            [entry._replace(scene=scene_type(entry.scene)) for entry in entries], self._read, focal_of=by_width
        )

    def _official(self, split: Literal["train", "test"]) -> DepthDataset:
        layout, folder = recognise(self.root, LAYOUTS, self.layout)
        if layout == "sync" and split == "test":
            layout, folder = recognise(self.root, LAYOUTS, "official_splits")
        self.layouts[split] = layout
        if layout == "labelled":
            return self._labelled(folder / "nyu_depth_v2_labeled.mat", split)
        if layout == "official_splits":
            return self._official_splits(folder, split)
        if layout == "sync":
            return self._sync(folder)
        return self._hdf5(folder, split)

    def _labelled(self, path: Path, split: Literal["train", "test"]) -> DepthDataset:
        key: Literal["rawDepths", "depths"] = "rawDepths" if self.depth == "raw" else "depths"
        scenes = scene_types(path, key)
        indices = [index for index in splits_of(path.with_name("splits.mat"))[split] if index < len(scenes)]
        check_complete(f"the {split} split of {path}", len(indices), COUNTS[split], self.allow_partial)
        return LabelledSamples(path, indices, key, scenes)

    def _official_splits(self, folder: Path, split: str) -> DepthDataset:
        entries, missing = [], []
        for index, frame_split, scene in nyu_labelled():
            if frame_split != split:
                continue
            name = f"{split}/{scene}/rgb_{index:05d}.jpg"
            inside = f"sync_depth_{index:05d}.png" if self.depth == "raw" else f"dense/sync_depth_dense_{index:05d}.png"
            image, depth = folder / name, (folder / name).parent / inside
            absent = [f"{path} {reason}" for path in (image, depth) if (reason := fault(path))]
            missing += absent[:1]
            if not absent:
                entries.append(Entry(image, depth, name, scene))
        what = f"the {split} split in {folder}"
        check_complete(what, len(entries), COUNTS[split], self.allow_partial, missing)
        return PairSamples(entries, self._read, focal_of=by_width)

    def _sync(self, folder: Path) -> DepthDataset:
        if self.depth == "filled":
            raise DataError(f"depth filled: the sync folders in {folder} have raw depth only; set depth: raw")
        entries = []
        for image in sorted(folder.glob("*/rgb_*.jpg")):
            depth = image.with_name(image.name.replace("rgb_", "sync_depth_")).with_suffix(".png")
            if reason := fault(image):
                raise DataError(f"image {image} {reason}; complete the copy, or give train_list")
            if reason := fault(depth):
                raise DataError(f"image {image} has no {depth.name}: it {reason}; complete the copy, or set train_list")
            entries.append(Entry(image, depth, str(image.relative_to(folder)), scene_type(image.parent.name)))
        return PairSamples(entries, self._read, focal_of=by_width)

    def _hdf5(self, folder: Path, split: Literal["train", "test"]) -> DepthDataset:
        files = sorted(folder.glob("train/*/*.h5" if split == "train" else "val/*/*.h5"))
        if split == "test":
            files = files or sorted(folder.glob("*.h5"))
            missing = [f"{path} {reason}" for path in files if (reason := fault(path))]
            files = [path for path in files if not fault(path)]
            check_complete(f"val/ in {folder}", len(files), COUNTS["test"], self.allow_partial, missing)
        if not files:
            raise DataError(f"{folder} has no train/SCENE/*.h5; unpack the archives of the training split there")
        return FrameSamples(files, folder)

    @property
    def _read(self) -> partial[torch.Tensor]:
        return partial(read_depth, scale=self.depth_scale)


def by_width(image: Path, size: tuple[int, int]) -> float:
    """Return the focal length in pixels of an image file, whose (height, width) is `size`."""
    return nyu_focal(size[1])
