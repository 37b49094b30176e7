"""Frames in HDF5 files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depthclip.data.files import check_depth_values, metres
from depthclip.data.focal import nyu_focal
from depthclip.data.images import AGAIN
from depthclip.data.nyu_scenes import scene_type
from depthclip.data.paths import regular_file
from depthclip.data.samples import DataError, DepthDataset, Sample


def open_hdf5(path: Path) -> Any:
    """Open an HDF5 file for reading.

    Raises:
        DataError: if it is missing, truncated, or not an HDF5 file.
    """
    import h5py

    regular_file(path, "file", AGAIN)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"file {path} is no complete HDF5 file ({error}); {AGAIN}") from error


class FrameSamples(DepthDataset):
    """Frames with an HDF5 file each: `rgb` (3, H, W) uint8 and `depth` (H, W) metres.

    Args:
        paths: files.
        folder: folder that the names of the samples are relative to.
    """

    def __init__(self, paths: Sequence[Path], folder: Path) -> None:
        self.paths = list(paths)
        self.folder = folder

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return the path of file `index` within the data set."""
        return str(self.paths[index].relative_to(self.folder))

    def scene(self, index: int) -> str:
        """Return the type of scene in the name of the folder, or "" for the folder `official`."""
        folder = self.paths[index].parent.name
        return "" if folder == "official" else scene_type(folder)

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the file of the frame."""
        return (self.paths[index],)

    def __getitem__(self, index: int) -> Sample:
        path = self.paths[index]
        try:
            with open_hdf5(path) as file:
                rgb, distance = file["rgb"], file["depth"]
                # checked before reading, because the arrays may be larger than the memory
                if rgb.shape != (3, *distance.shape) or rgb.dtype != np.uint8 or distance.dtype.kind != "f":
                    raise DataError(
                        f"{path} has rgb {rgb.dtype} {rgb.shape} and depth {distance.dtype} {distance.shape}, but they "
                        f"must be uint8 (3, H, W) and float (H, W); {AGAIN}"
                    )
                image, depth = rgb[()], distance[()]
            check_depth_values(depth, f"{path} depth")
        except DataError:
            raise
        except Exception as error:  # a damaged file may raise any exception
            raise DataError(f"{path} cannot be read ({error}); {AGAIN}") from error
        return Sample(
            torch.from_numpy(image), metres(depth), self.name(index), self.scene(index), nyu_focal(image.shape[-1])
        )
