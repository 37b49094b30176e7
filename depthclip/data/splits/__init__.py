"""The official splits of the benchmarks into frames for training and frames for testing."""

import csv
import gzip
import io
from importlib.resources import files
from typing import Literal, NamedTuple


class LabelledFrame(NamedTuple):
    """A labelled frame of NYU Depth V2, which has 1,449 of them.

    Args:
        number: number of the frame, counted from 0; `splits.mat` counts from 1.
        split: `train` (795 frames) or `test` (654 frames).
        scene: type of scene, such as `bedroom`.
    """

    number: int
    split: str
    scene: str


class DriveFrame(NamedTuple):
    """A frame of a KITTI recording.

    Args:
        date: date, such as `2011_09_26`.
        drive: number of the drive, such as `0002`.
        camera: 2 (left) or 3 (right).
        frame: number of the frame, counted from 0.
        annotated: whether KITTI has an annotated depth map; the first and last five frames of a drive have none.
    """

    date: str
    drive: str
    camera: int
    frame: int
    annotated: bool

    @property
    def recording(self) -> str:
        """The folder of the drive."""
        return f"{self.date}_drive_{self.drive}_sync"


def nyu_labelled() -> list[LabelledFrame]:
    """Return the labelled frames of NYU Depth V2 in their order."""
    return [LabelledFrame(int(number), split, scene) for number, split, scene in _rows("nyu_labelled.csv")]


def kitti_eigen(split: Literal["train", "test"]) -> list[DriveFrame]:
    """Return Eigen's frames in their usual order: 697 test frames, 652 of them annotated, or 23,158 for training."""
    rows = _rows("kitti_eigen_test.csv" if split == "test" else "kitti_eigen_train.csv.gz")
    return [
        DriveFrame(date, drive, int(camera), int(frame), truth == "1") for date, drive, camera, frame, truth in rows
    ]


def _rows(name: str) -> list[list[str]]:
    data = (files(__package__) / name).read_bytes()
    text = gzip.decompress(data) if name.endswith(".gz") else data
    return list(csv.reader(io.StringIO(text.decode())))[1:]
