"""Depth maps of many images in an .npz file, as Monodepth2 exports them for KITTI."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from depthclip.data.files import Entry, FileSamples, check_depth_values, metres
from depthclip.data.paths import regular_file
from depthclip.data.samples import DataError

PICKLED = (
    "truth {path} holds pickled objects, which can run code when they are loaded; set truth: velodyne and "
    "velodyne_depth: x, which computes the same from the sweeps, or, if you made the file, store plain arrays, one per "
    "image: numpy.savez_compressed('plain.npz', *numpy.load('{path}', allow_pickle=True)['data'])"
)


class ExportedMaps:
    """The depth maps of an .npz file, which each process opens once.

    Args:
        path: file with an array per image (`arr_0`, `arr_1`, ... as numpy.savez names them), or a single array `data`,
            (N, H, W).

    Raises:
        DataError: if it is missing, broken, or holds pickled objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: tuple[int, Any] | None = None
        maps = self._maps()
        self.count = len(maps)

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the open file, which no other process may use."""
        return {**self.__dict__, "opened": None}

    def read(self, index: int) -> Tensor:
        """Return map `index`, (H, W) float32 metres, 0 = invalid.

        Raises:
            DataError: if it cannot be read.
        """
        maps = self._maps()
        try:
            values = maps[index] if isinstance(maps, np.ndarray) else maps[f"arr_{index}"]
        except Exception as error:  # a damaged file may raise any exception
            raise DataError(f"truth {self.path} map {index} cannot be read ({error}); export it again") from error
        check_depth_values(values, f"truth {self.path} map {index}")
        return metres(values)

    def _maps(self) -> Any:
        if self.opened is None or self.opened[0] != os.getpid():
            regular_file(self.path, "truth", "export it, or set truth: velodyne")
            try:
                file = np.load(self.path, allow_pickle=False)
                maps = file["data"] if "data" in file.files else file
            except Exception as error:  # a damaged file may raise any exception
                if "Object arrays" in str(error):
                    raise DataError(PICKLED.format(path=self.path)) from error
                raise DataError(f"truth {self.path} cannot be read ({error}); export it again") from error
            names = {f"arr_{index}" for index in range(len(file.files))}
            if isinstance(maps, np.ndarray) and maps.ndim != 3:
                raise DataError(
                    f"truth {self.path} has data of shape {maps.shape}; it must be (images, height, width), export it "
                    "again"
                )
            if not isinstance(maps, np.ndarray) and (not names or names != set(file.files)):
                raise DataError(
                    f"truth {self.path} holds {', '.join(file.files[:3]) or 'nothing'}; it must hold data, or arr_0, "
                    "arr_1 and so on, export it with numpy.savez"
                )
            self.opened = (os.getpid(), maps)
        return self.opened[1]


class ExportedSamples(FileSamples):
    """Images with their depth maps in a single file.

    Args:
        entries: image files.
        maps: depth maps.
        order: index of the map of each image.
    """

    def __init__(self, entries: Sequence[Entry], maps: ExportedMaps, order: Sequence[int]) -> None:
        super().__init__(entries)
        self.maps = maps
        self.order = list(order)

    def depth(self, index: int, size: tuple[int, int]) -> Tensor | None:
        """Return the map of image `index`, (H, W) float32 metres."""
        return self.maps.read(self.order[index])
