"""KITTI with Eigen's split, in the layouts in which copies are common."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from depthclip.checks import check_choice, check_count
from depthclip.data.augment import Augment
from depthclip.data.exported import ExportedMaps, ExportedSamples
from depthclip.data.files import Entry, PairSamples, read_depth
from depthclip.data.focal import kitti_focal
from depthclip.data.kitti_files import AnnotatedFiles, entry_of, read_drive_list, sweep_of
from depthclip.data.layouts import check_complete, hold_out, recognise
from depthclip.data.module import DepthDataModule, Loading, Shots, Split
from depthclip.data.paths import argument_path, data_folder, fault
from depthclip.data.samples import DataError, DepthDataset, Subset
from depthclip.data.splits import DriveFrame, kitti_eigen
from depthclip.data.velodyne import SweepSamples, object_focal, object_projection, raw_projection
from depthclip.errors import InputError
from depthclip.protocol import SCORINGS, VIEWS, Scoring, View

RAW = ("raw", "raw_data", "kitti_raw", "kitti_raw_data", "input")
ANNOTATED = ("gt", "depth", "annotated", "data_depth_annotated", "gt_depth", "kitti_gt", "kitti_depth")
LAYOUTS = {
    "raw": tuple((folder, "20*/*_sync/image_0*") for folder in (".", *RAW)),
    "selection": tuple(
        (folder, "image/*_sync_image_*.png")
        for folder in ("val_selection_cropped", "depth_selection/val_selection_cropped", ".")
    ),
    "object": tuple((folder, "velodyne/*.bin") for folder in ("training", ".")),
}
SELECTION = 1000
VALUES_A_METRE = 256


class KITTI(DepthDataModule):
    """KITTI: street scenes recorded from a car, about 375 x 1242, with depth from a laser scanner.

    Dataset Format: one of these layouts:

    - `raw`: recordings `DATE/DATE_drive_NNNN_sync/image_02/data/%010d.png` (or .jpg), below root or its folder raw,
      raw_data, kitti_raw or input, with any of the three kinds of ground truth;
    - `selection`: `val_selection_cropped/{image,groundtruth_depth}/*.png`, 1,000 images of 352 x 1216 with annotated
      depth;
    - `object`: `image_2/`, `velodyne/` and `calib/` of the object benchmark, in root or training/, without an official
      depth split.

    Ground truth is selected by `truth`:

    - `annotated`: `DRIVE/proj_depth/groundtruth/image_02/%010d.png`, uint16, 0 = invalid, 256 values per metre; below
      root or its folder gt, depth, annotated, data_depth_annotated or the like, with or without train/ and val/;
    - `velodyne`: raw sweeps `velodyne_points/data/%010d.bin`, projected with the calibration files of the day;
    - a path: an .npz file with the depth of the test images in the order of the list, as Monodepth2 exports it, without
      pickled objects.

    Dataset Features: Eigen's 697 test images, of which 652 have annotated depth (figures on the two sets differ), and
    23,158 training images. Annotated depth covers about 20 % of the pixels, a sweep 4-5 %.

    Licence: CC BY-NC-SA 3.0. Citation: Geiger et al., IJRR 2013; Uhrig et al., 3DV 2017; split: Eigen et al., NIPS
        2014;
    https://www.cvlibs.net/datasets/kitti

    Args:
        root: folder of the data set.
        layout: name of the layout; `auto` recognises it from the files.
        truth: `annotated`, `velodyne`, or the path of an .npz file.
        annotated: folder of the annotated depth; null for folders below root.
        velodyne_depth: axis of the depth: `z` of the camera, or `x` of the laser as in Monodepth2.
        test_list: list file of test images in the format of BTS (`image depth focal`, the depth may be None) or
            Monodepth2 (`folder frame side`); null for Eigen's official list.
        train_list: list file of training images; null for Eigen's official list.
        val_list: list file of validation images; null to hold out drives of the training split.
        allow_partial: warn instead of raising an error if official images are missing.
        val_every: hold out about one of this number of training images for validation, without dividing a drive.
        view: part of an image that the model sees: a `View`, or the name of a preset.
        scoring: pixels that count: a `Scoring`, or the name of a preset.
        loading: batch size, worker processes, unreadable files, and the order of training images.
        shots: number of training images, or a `Shots`, whose scenes are drives; null for all.
        augment: augmentation of training images and their depth; null for none.

    Raises:
        InputError: if an argument is out of range.
        DataError: at setup, if files are missing.
    """

    def __init__(
        self,
        root: str = "data/kitti",
        layout: Literal["auto", "raw", "selection", "object"] = "auto",
        truth: str = "annotated",
        annotated: str | None = None,
        velodyne_depth: Literal["z", "x"] = "z",
        test_list: str | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
        allow_partial: bool = False,
        val_every: int = 10,
        view: View | str = VIEWS["kitti"],
        scoring: Scoring | str = SCORINGS["garg_kitti_seen"],
        loading: Loading = Loading(batch_size=4),
        shots: Shots | int | None = None,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(view, scoring, loading, shots, augment)
        if truth not in ("annotated", "velodyne") and not truth.endswith(".npz"):
            raise InputError(f"truth {truth!r} is unknown; choose annotated, velodyne, or the path of an .npz")
        check_choice("layout", layout, ("auto", *LAYOUTS))
        check_choice("velodyne_depth", velodyne_depth, ("z", "x"))
        check_count("val_every", val_every, at_least=2, unit="images")
        self.root = argument_path("root", root)
        self.layout = layout
        self.truth = str(argument_path("truth", truth))
        self.annotated = None if annotated is None else argument_path("annotated", annotated)
        self.velodyne_depth = velodyne_depth
        lists = {"train": train_list, "val": val_list, "test": test_list}
        self.lists = {
            split: None if path is None else argument_path(f"{split}_list", path) for split, path in lists.items()
        }
        self.allow_partial = allow_partial
        self.val_every = val_every
        self.layouts: dict[str, str] = {}

    def samples(self, split: Split) -> DepthDataset:
        """Return the images of a split that have ground truth.

        Raises:
            DataError: if files are missing.
        """
        layout, folder = recognise(self.root, LAYOUTS, self.layout)
        self.layouts[split] = layout
        if layout == "raw":
            return self._recordings(split, folder)
        if split != "test":
            raise DataError(
                f"layout {layout} in {folder} has no {split} split; train on the raw recordings (layout: raw)"
            )
        return self._selection(folder) if layout == "selection" else self._object(folder)

    def metadata(self) -> dict[str, Any]:
        """Return root, layout, kind of ground truth, and number of images."""
        swept = self.truth == "velodyne" or "object" in self.layouts.values()
        truth = f"velodyne {self.velodyne_depth}" if swept else self.truth
        return {**super().metadata(), "root": str(self.root), "layout": self.layouts, "truth": truth}

    def _recordings(self, split: Split, raw: Path) -> DepthDataset:
        if split == "test":
            return self._frames(self._listed("test"), raw, "test")
        if split == "val" and self.lists["val"] is not None:
            return self._frames(self._listed("val"), raw, "val")
        whole = self._frames(self._listed("train"), raw, "train")
        if self.lists["val"] is not None:
            return whole
        kept, held = hold_out([whole.scene(index) for index in range(len(whole))], self.val_every)
        return Subset(whole, kept if split == "train" else held)

    def _listed(self, split: Split) -> list[DriveFrame]:
        path = self.lists[split]
        if path is not None:
            return read_drive_list(path, f"{split}_list")
        return kitti_eigen("test" if split == "test" else "train")

    def _frames(self, frames: list[DriveFrame], raw: Path, split: Split) -> DepthDataset:
        if self.truth == "annotated":
            frames = [frame for frame in frames if frame.annotated]
            if not frames:
                raise DataError(
                    f"{split}_list {self.lists[split]} names no depth map; list some, or set truth: velodyne"
                )
            depth_of: Callable[[DriveFrame], Path] = AnnotatedFiles(self._annotated_places()).path
        elif self.truth == "velodyne":
            depth_of = partial(sweep_of, raw=raw)
        else:
            return self._exported(frames, raw, split)
        pairs = [(frame, entry_of(frame, raw, depth_of(frame))) for frame in frames]
        pairs = self._there(pairs, raw, split)
        entries = [entry for _, entry in pairs]
        if self.truth == "annotated":
            return PairSamples(entries, partial(read_depth, scale=VALUES_A_METRE))
        projections = [partial(raw_projection, raw / frame.date, frame.camera) for frame, _ in pairs]
        for date, camera in {(frame.date, frame.camera) for frame, _ in pairs}:
            raw_projection(raw / date, camera)
        return SweepSamples(entries, projections, self.velodyne_depth)

    def _there(self, pairs: list[tuple[DriveFrame, Entry]], raw: Path, split: Split) -> list[tuple[DriveFrame, Entry]]:
        """Return the frames whose files exist; a list of the user must be complete."""
        there, missing = [], []
        for frame, entry in pairs:
            files = [path for path in (entry.image, entry.depth) if path is not None]
            absent = [f"{path} {reason}" for path in files if (reason := fault(path))]
            if absent and self.lists[split] is not None:
                raise DataError(f"{split}_list {self.lists[split]}: {absent[0]}; fetch it, or remove its line")
            missing += absent[:1]
            if not absent:
                there.append((frame, entry))
        if self.lists[split] is None:
            check_complete(f"the {split} split in {raw}", len(there), len(pairs), self.allow_partial, missing)
        return there

    def _annotated_places(self) -> list[Path]:
        roots = [self.root / name for name in (".", *ANNOTATED)]
        if self.annotated is not None:
            roots = [data_folder(self.annotated, "annotated", "its folder, or null to look below root")]
        return [root / part for root in roots for part in ("train", "val", ".") if (root / part).is_dir()]

    def _exported(self, frames: list[DriveFrame], raw: Path, split: Split) -> DepthDataset:
        if split != "test":
            raise DataError(
                f"truth {self.truth} is for testing; set truth to annotated or velodyne for the {split} split"
            )
        maps = ExportedMaps(Path(self.truth))
        if len(maps) == sum(frame.annotated for frame in frames):
            frames = [frame for frame in frames if frame.annotated]
        if len(maps) != len(frames):
            raise DataError(
                f"truth {maps.path} has {len(maps)} maps, but the list has {len(frames)} images; set truth and "
                "test_list to files of the same split"
            )
        pairs = self._there([(frame, entry_of(frame, raw, maps.path)) for frame in frames], raw, split)
        order = {frame: index for index, frame in enumerate(frames)}
        return ExportedSamples([entry for _, entry in pairs], maps, [order[frame] for frame, _ in pairs])

    def _selection(self, place: Path) -> DepthDataset:
        entries = []
        images = sorted((place / "image").glob("*_sync_image_*.png"))
        for image in images:
            depth = place / "groundtruth_depth" / image.name.replace("_sync_image_", "_sync_groundtruth_depth_")
            for path in (image, depth):
                if reason := fault(path):
                    raise DataError(f"image {image} and its depth are incomplete: {path} {reason}; complete the copy")
            recording = image.name.partition("_sync_")[0] + "_sync"
            entries.append(Entry(image, depth, image.name, recording, focal=kitti_focal(recording)))
        known = {entry.depth for entry in entries}
        missing = [
            f"the image of {depth} does not exist"
            for depth in sorted((place / "groundtruth_depth").glob("*.png"))
            if depth not in known
        ]
        check_complete(f"{place}", len(entries), SELECTION, self.allow_partial, missing)
        return PairSamples(entries, partial(read_depth, scale=VALUES_A_METRE))

    def _object(self, place: Path) -> DepthDataset:
        entries, calibrations = [], []
        names = {path.stem for path in (place / "velodyne").glob("*.bin")}
        names |= {path.stem for path in (place / "image_2").glob("*.png")}
        for name in sorted(names):
            image, sweep = place / "image_2" / f"{name}.png", place / "velodyne" / f"{name}.bin"
            calibration = place / "calib" / f"{name}.txt"
            for path in (image, sweep, calibration):
                if reason := fault(path):
                    raise DataError(f"frame {name} is incomplete: {path} {reason}; complete the copy")
            object_projection(calibration)
            entries.append(Entry(image, sweep, f"image_2/{image.name}", focal=object_focal(calibration)))
            calibrations.append(partial(object_projection, calibration))
        return SweepSamples(entries, calibrations, self.velodyne_depth)
