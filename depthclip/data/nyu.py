"""NYU Depth V2, in the layouts people have."""

import os
import re
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from depthclip.checks import check_choice, check_count
from depthclip.data.augment import Augment
from depthclip.data.files import Entry, PairSamples, check_depth_values, check_scale, metres, read_depth
from depthclip.data.images import AGAIN
from depthclip.data.layouts import check_complete, hold_out, read_list, recognise
from depthclip.data.module import DepthDataModule, Loading, Shots, Split
from depthclip.data.paths import argument_path, fault, regular_file
from depthclip.data.samples import DataError, DepthDataset, Sample, Subset
from depthclip.data.splits import nyu_labelled
from depthclip.protocol import SCORINGS, VIEWS, Scoring, View

COUNTS = {"train": 795, "test": 654}
BLOCK = 20
MOST_COLUMNS = 1000
LAYOUTS = {
    "labelled": ((".", "nyu_depth_v2_labeled.mat"),),
    "official_splits": (("official_splits", "t*/*/rgb_*.jpg"), (".", "t*/*/rgb_*.jpg")),
    "sync": (("sync", "*/rgb_*.jpg"), (".", "*/rgb_*.jpg")),
    "hdf5": (("nyudepthv2", "*/*/*.h5"), ("data", "*/*/*.h5"), (".", "*/*/*.h5"), (".", "*.h5")),
}


class NYU(DepthDataModule):
    """NYU Depth V2: indoor rooms seen by a Kinect, 480 x 640.

    Dataset Format: one of

    - `labelled`: `nyu_depth_v2_labeled.mat` (MATLAB v7.3, float32 metres) and `splits.mat` (counted from 1; where it is
      missing, the package's own list of the split is used);
    - `official_splits`: BTS' `official_splits/{train,test}/TYPE/rgb_%05d.jpg` with `sync_depth_%05d.png` (uint16
      millimetres, 0 = invalid) and, for filled depth, `dense/sync_depth_dense_%05d.png` beside them, counted from 0;
    - `sync`: BTS' training folders `sync/SCENE/rgb_%05d.jpg` and `sync_depth_%05d.png`; tested on `official_splits`;
    - `hdf5`: `{train,val}/SCENE/*.h5` with `rgb` (3, 480, 640) uint8 and `depth` (480, 640) float32 metres; `val` is
      the test split, and so is a bare folder of such files.

    A list file overrides the layout for its split.

    Dataset Features: 795 labelled frames for training and 654 for testing, 27 types of scene; 24,231 frames in the
    training list of BTS, 47,584 in `hdf5`. Raw depth has holes (a quarter to a third), filled depth has none; figures
    on the two differ.

    Licence: its authors name none; research use is customary. Citation: Silberman et al., ECCV 2012,
    https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html

    Args:
        root: folder of the data set.
        layout: `auto` recognises it from the files; a name forces it.
        depth: `raw` is what the sensor saw, with holes (`rawDepths`, `sync_depth`); `filled` is in-painted (`depths`,
            `dense`).
        train_list: list file, a line `image depth ...` for each image, with paths below root or the folder of the
            split.
        val_list: the same for validation; without it, recordings of the training split are held out.
        test_list: the same for testing.
        depth_column: column of the depth map in the lists, counted from 0.
        depth_scale: PNG values a metre.
        allow_partial: whether a copy without all official images is used, with a warning, instead of refused.
        val_every: about one in so many training images is held out for validation, whole recordings at a time, since
            there is no official validation split.
        view: part of an image that the model sees: a `View`, or the name of a preset.
        scoring: pixels that count: a `Scoring`, or the name of a preset.
        loading: batch size, worker processes, unreadable files, and the order of training images.
        shots: number of training images, or a `Shots` with scenes and seed; null for all.
        augment: augmentation of training images and their depth; null for none.

    Raises:
        InputError: if an argument is not in its range.
        DataError: at setup, if files are missing or not as many as there should be.
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
        """The images of a split, from its list or from what lies below the root.

        Raises:
            DataError: if they are not all there.
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
        """What was found on disk: root, layout of each split, kind of depth and counts."""
        return {**super().metadata(), "root": str(self.root), "layout": self.layouts, "depth": self.depth}

    def _whole(self, split: Literal["train", "test"]) -> DepthDataset:
        path = self.lists[split]
        return self._official(split) if path is None else self._listed(path, split)

    def _listed(self, path: Path, split: Split) -> DepthDataset:
        self.layouts[split] = f"list {path}"
        bases = [self.root, self.root / "official_splits" / split, self.root / split, self.root / "sync"]
        entries = read_list(path, bases, self.depth_column, f"{split}_list")
        return PairSamples([entry._replace(scene=scene_type(entry.scene)) for entry in entries], self._read)

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
        return PairSamples(entries, self._read)

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
        return PairSamples(entries, self._read)

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


class LabelledSamples(DepthDataset):
    """Frames of the labelled .mat file, which is opened once in every process that reads.

    Args:
        path: `nyu_depth_v2_labeled.mat`; its arrays have MATLAB's axes reversed: (N, 3, 640, 480) and (N, 640, 480).
        indices: the frames, from 0.
        key: `rawDepths` with holes, or `depths` in-painted.
        scenes: the type of scene of every frame of the file.
    """

    def __init__(
        self, path: Path, indices: Sequence[int], key: Literal["rawDepths", "depths"], scenes: Sequence[str]
    ) -> None:
        self.path = path
        self.indices = list(indices)
        self.key = key
        self.scenes = list(scenes)
        self.opened: tuple[int, Any] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the open file, which no other process may use."""
        return {**self.__dict__, "opened": None}

    def name(self, index: int) -> str:
        """The frame's number in the file, from 0."""
        return f"{self.indices[index]:05d}"

    def scene(self, index: int) -> str:
        """The frame's type of scene."""
        return self.scenes[self.indices[index]]

    def files(self, index: int) -> tuple[Path, ...]:
        """The one file that all frames are read from."""
        return (self.path,)

    def __getitem__(self, index: int) -> Sample:
        frame = self.indices[index]
        try:
            file = self._file()
            image, depth = file["images"][frame], file[self.key][frame]
        except DataError:
            raise
        except Exception as error:  # a damaged file raises whatever its bytes lead to
            raise DataError(f"{self.path} frame {frame}: cannot be read ({error}); fetch the file again") from error
        return Sample(
            torch.from_numpy(np.ascontiguousarray(image.transpose(0, 2, 1))),
            metres(depth.T),
            self.name(index),
            self.scene(index),
        )

    def _file(self) -> Any:
        # a worker that was forked has a copy of the main process' handle, which HDF5 forbids it to use
        if self.opened is None or self.opened[0] != os.getpid():
            self.opened = (os.getpid(), open_hdf5(self.path))
        return self.opened[1]


class FrameSamples(DepthDataset):
    """Frames in HDF5 files of their own: `rgb` (3, H, W) uint8 and `depth` (H, W) metres.

    Args:
        paths: the files.
        folder: from which they are named.
    """

    def __init__(self, paths: Sequence[Path], folder: Path) -> None:
        self.paths = list(paths)
        self.folder = folder

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """The file's path within the data set."""
        return str(self.paths[index].relative_to(self.folder))

    def scene(self, index: int) -> str:
        """The type of scene, by the folder; "" in the folder `official`, which names none."""
        folder = self.paths[index].parent.name
        return "" if folder == "official" else scene_type(folder)

    def files(self, index: int) -> tuple[Path, ...]:
        """The file of the frame."""
        return (self.paths[index],)

    def __getitem__(self, index: int) -> Sample:
        path = self.paths[index]
        try:
            with open_hdf5(path) as file:
                rgb, distance = file["rgb"], file["depth"]
                # before they are read: shapes may promise more than the memory holds
                if rgb.shape != (3, *distance.shape) or rgb.dtype != np.uint8 or distance.dtype.kind != "f":
                    told = f"{path} has rgb {rgb.dtype} {rgb.shape} and depth {distance.dtype} {distance.shape}"
                    raise DataError(f"{told}, but they must be uint8 (3, H, W) and float (H, W); {AGAIN}")
                image, depth = rgb[()], distance[()]
            check_depth_values(depth, f"{path} depth")
        except DataError:
            raise
        except Exception as error:  # a damaged file raises whatever its bytes lead to
            raise DataError(f"{path} cannot be read ({error}); {AGAIN}") from error
        return Sample(torch.from_numpy(image), metres(depth), self.name(index), self.scene(index))


def open_hdf5(path: Path) -> Any:
    """Open an HDF5 file for reading.

    Raises:
        DataError: if it is missing, truncated or something else.
    """
    import h5py

    regular_file(path, "file", AGAIN)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"file {path} is no complete HDF5 file ({error}); {AGAIN}") from error


def scene_types(path: Path, key: Literal["rawDepths", "depths"]) -> list[str]:
    """Return the type of scene of every frame of the labelled .mat file, which keeps each as a reference to characters.

    Args:
        path: `nyu_depth_v2_labeled.mat`.
        key: the depth that will be read.

    Raises:
        DataError: if the file has none, or its images and depth have other types or shapes than the labelled set.
    """
    with open_hdf5(path) as file:
        try:
            check_labelled(file, key)
            types = file["sceneTypes"]
            if types.dtype.kind != "O":
                raise ValueError(f"sceneTypes are {types.dtype}, but must be references to text")
            references = types[()].ravel()
            scenes = ["".join(map(chr, np.asarray(file[reference]).ravel())) for reference in references]
            frames = len(file["images"])
        except Exception as error:  # a damaged file raises whatever its bytes lead to
            told = f"{path} is not the labelled set ({error})"
            raise DataError(f"{told}; fetch nyu_depth_v2_labeled.mat again") from error
    if len(scenes) != frames:
        told = f"{path} has {frames} images, but {len(scenes)} sceneTypes"
        raise DataError(f"{told}; fetch nyu_depth_v2_labeled.mat again")
    return scenes


def check_labelled(file: Any, key: str) -> None:
    """Raise ValueError unless images and depth of the labelled set have MATLAB's reversed axes and the right types."""
    images, depth = file["images"], file[key]
    shape, kind = images.shape, images.dtype
    if len(shape) != 4 or shape[1] != 3 or shape[2] < shape[3] or kind != np.uint8:
        raise ValueError(f"images are {kind} {shape}, but must be uint8 (frames, 3, width, height)")
    if depth.shape != (shape[0], *shape[2:]) or depth.dtype.kind != "f":
        raise ValueError(f"{key} is {depth.dtype} {depth.shape}, but must be float {(shape[0], *shape[2:])}")


def splits_of(path: Path) -> dict[str, list[int]]:
    """Return the frames of each split, from 0: of `splits.mat`, which counts from 1, or of the package's list.

    Args:
        path: `splits.mat`, which may be missing.

    Raises:
        DataError: if the file is not readable, or its splits are empty, overlap, or name other frames than 1 to 1449.
    """
    if not os.path.lexists(path):
        frames = nyu_labelled()
        return {split: [frame.number for frame in frames if frame.split == split] for split in COUNTS}
    from scipy.io import loadmat

    way_out = "fetch it again, or remove it to use the package's list"
    regular_file(path, "splits", way_out)
    try:
        content = loadmat(path)
        splits = {split: np.asarray(content[f"{split}Ndxs"]).ravel() for split in COUNTS}
        numbers = np.concatenate(list(splits.values())).astype(np.float64)
        if any(not numbers_of.size for numbers_of in splits.values()):
            raise ValueError("a split is empty")
        if (numbers != numbers.round()).any() or numbers.min() < 1 or numbers.max() > sum(COUNTS.values()):
            told = f"it names frames {numbers.min():g} to {numbers.max():g}"
            raise ValueError(f"{told}, but they are counted from 1 to {sum(COUNTS.values())}")
        if len(np.unique(numbers)) != len(numbers):
            raise ValueError("it names a frame twice")
        return {split: [int(number) - 1 for number in numbers_of] for split, numbers_of in splits.items()}
    except Exception as error:  # a broken .mat raises whatever its bytes lead to
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        raise DataError(f"splits {path} cannot be used ({reason}); {way_out}") from error


def scene_type(folder: str) -> str:
    """The type of a scene's folder: `kitchen` of `kitchen_0028b`."""
    return re.sub(r"_\d+[a-z]*$", "", folder)


def recordings(samples: DepthDataset) -> list[str]:
    """The recording of each image: its folder, or, where folders are types of scene, its block of neighbours.

    The labelled frames are in the order of their recordings, of about three frames each, but do not name them: blocks
    of images of one type, up to 20 long, hold nearly all of them whole.
    """
    names = [samples.name(index) for index in range(len(samples))]
    scenes = [samples.scene(index) for index in range(len(samples))]
    folders = [Path(name).parent.name for name in names]
    if all(folders) and folders != scenes:
        return folders
    order = sorted(range(len(samples)), key=lambda index: Path(names[index]).stem)
    blocks: dict[int, str] = {}
    for number, (scene, members) in enumerate(groupby(order, key=lambda index: scenes[index])):
        for place, index in enumerate(members):
            blocks[index] = f"{scene} {number} {place // BLOCK}"
    return [blocks[index] for index in range(len(samples))]
