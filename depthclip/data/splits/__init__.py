"""The official splits of the benchmarks, as data: which frames are for training and which for testing."""

import csv
import gzip
import io
from importlib.resources import files
from typing import Literal, NamedTuple


class LabelledFrame(NamedTuple):
    """One of the 1,449 labelled frames of NYU Depth V2.

    Args:
        number: from 0; MATLAB's `splits.mat` counts from 1.
        split: `train` (795) or `test` (654).
        scene: its type, such as `bedroom`.
    """

    number: int
    split: str
    scene: str


class DriveFrame(NamedTuple):
    """A frame of a KITTI recording.

    Args:
        date: such as `2011_09_26`.
        drive: such as `0002`.
        camera: 2 (left) or 3 (right).
        frame: from 0.
        annotated: whether KITTI has an annotated depth map of it; its first and last five frames have none.
    """

    date: str
    drive: str
    camera: int
    frame: int
    annotated: bool

    @property
    def recording(self) -> str:
        """The folder of its drive."""
        return f"{self.date}_drive_{self.drive}_sync"


def nyu_labelled() -> list[LabelledFrame]:
    """The labelled frames of NYU Depth V2 in their order."""
    return [LabelledFrame(int(number), split, scene) for number, split, scene in _rows("nyu_labelled.csv")]


def kitti_eigen(split: Literal["train", "test"]) -> list[DriveFrame]:
    """Eigen's frames in their usual order: 697 for testing, of which 652 are annotated, and 23,158 for training."""
    rows = _rows("kitti_eigen_test.csv" if split == "test" else "kitti_eigen_train.csv.gz")
    return [
        DriveFrame(date, drive, int(camera), int(frame), truth == "1") for date, drive, camera, frame, truth in rows
    ]


def _rows(name: str) -> list[list[str]]:
    data = (files(__package__) / name).read_bytes()
    text = gzip.decompress(data) if name.endswith(".gz") else data
    return list(csv.reader(io.StringIO(text.decode())))[1:]
