"""NYU's labelled set, a MATLAB file, and its official split."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from depthclip.data.files import metres
from depthclip.data.focal import nyu_focal
from depthclip.data.hdf5 import open_hdf5
from depthclip.data.paths import regular_file
from depthclip.data.samples import DataError, DepthDataset, Sample
from depthclip.data.splits import nyu_labelled

COUNTS = {"train": 795, "test": 654}


class LabelledSamples(DepthDataset):
    """Frames of the labelled .mat file, which each process opens once.

    Args:
        path: `nyu_depth_v2_labeled.mat`; its arrays are (N, 3, 640, 480) and (N, 640, 480), MATLAB's axes reversed.
        indices: frames, counted from 0.
        key: `rawDepths`, with holes, or `depths`, in-painted.
        scenes: type of scene of each frame of the file.
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
        """Return the state without the open file, which no other process may use."""
        return {**self.__dict__, "opened": None}

    def name(self, index: int) -> str:
        """Return the number of the frame in the file, counted from 0."""
        return f"{self.indices[index]:05d}"

    def scene(self, index: int) -> str:
        """Return the type of scene of the frame."""
        return self.scenes[self.indices[index]]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the file, which is the same for all frames."""
        return (self.path,)

    def __getitem__(self, index: int) -> Sample:
        frame = self.indices[index]
        try:
            file = self.hdf5()
            image, depth = file["images"][frame], file[self.key][frame]
        except DataError:
            raise
        except Exception as error:  # a damaged file may raise any exception
            raise DataError(f"{self.path} frame {frame}: cannot be read ({error}); fetch the file again") from error
        return Sample(
            torch.from_numpy(np.ascontiguousarray(image.transpose(0, 2, 1))),
            metres(depth.T),
            self.name(index),
            self.scene(index),
            nyu_focal(image.shape[1]),  # MATLAB's axes reversed: (3, W, H)
        )

    def hdf5(self) -> Any:
        """Return the file, which is opened once in each process."""
        # a forked worker inherits the handle of the main process, but HDF5 does not allow its use
        if self.opened is None or self.opened[0] != os.getpid():
            self.opened = (os.getpid(), open_hdf5(self.path))
        return self.opened[1]


def scene_types(path: Path, key: Literal["rawDepths", "depths"]) -> list[str]:
    """Return the type of scene of each frame of the labelled .mat file, where it is a reference to characters.

    Args:
        path: `nyu_depth_v2_labeled.mat`.
        key: depth that will be read.

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
        except Exception as error:  # a damaged file may raise any exception
            raise DataError(
                f"{path} is not the labelled set ({error}); fetch nyu_depth_v2_labeled.mat again"
            ) from error
    if len(scenes) != frames:
        raise DataError(
            f"{path} has {frames} images, but {len(scenes)} sceneTypes; fetch nyu_depth_v2_labeled.mat again"
        )
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
    """Return the frames of each split, counted from 0, from `splits.mat` or else from the list of this package.

    Args:
        path: path of `splits.mat`, which counts from 1; the file may be missing.

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
            raise ValueError(
                f"it names frames {numbers.min():g} to {numbers.max():g}, but they are counted from 1 to "
                f"{sum(COUNTS.values())}"
            )
        if len(np.unique(numbers)) != len(numbers):
            raise ValueError("it names a frame twice")
        return {split: [int(number) - 1 for number in numbers_of] for split, numbers_of in splits.items()}
    except Exception as error:  # a broken .mat may raise any exception
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        raise DataError(f"splits {path} cannot be used ({reason}); {way_out}") from error
