"""KITTI's laser sweeps as depth: calibration files, and the projection of points to a sparse depth map."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from depthclip.data.files import Entry, FileSamples
from depthclip.data.images import AGAIN, SKIP
from depthclip.data.paths import read_list_text, regular_file
from depthclip.data.samples import DataError

MOST_POINTS = 10_000_000  # a sweep of the Velodyne HDL-64E has about 120,000
FARTHEST = 500.0  # metres; the laser reaches 120
ROUNDING = 0.05  # of the entries of a rotation times its transpose
NEAREST = 0.5  # metres, median of a sweep


class SweepSamples(FileSamples):
    """Images with laser sweeps, which are projected when they are read.

    Args:
        entries: image and sweep files.
        projections: for each entry, a function that reads its projection, (3, 4), from the calibration files.
        along: axis of the depth: `z` of the camera or `x` of the laser.
    """

    def __init__(
        self, entries: Sequence[Entry], projections: Sequence[Callable[[], np.ndarray]], along: Literal["z", "x"]
    ) -> None:
        super().__init__(entries)
        self.projections = list(projections)
        self.along = along

    def depth(self, index: int, size: tuple[int, int]) -> Tensor | None:
        """Return the sweep of image `index` as a sparse depth map, (H, W) float32 metres."""
        path = self.entries[index].depth
        return None if path is None else project(read_sweep(path), self.projections[index](), size, self.along)


def read_sweep(path: Path) -> np.ndarray:
    """Return the points of a sweep, (N, 3) float32: x forward, y left, z up, in metres from the laser.

    Args:
        path: file of little-endian float32 with four values per point; the fourth, the reflectance, is dropped.

    Raises:
        DataError: if the file is missing or empty, has an incomplete point, or has implausible values, such as
            big-endian or double-precision numbers.
    """
    regular_file(path, "sweep", f"complete the copy of velodyne_points, or {SKIP}")
    size = path.stat().st_size
    if size % 16 or size > 16 * MOST_POINTS:
        raise DataError(f"sweep {path} has {size} bytes, not 16 for each point; {AGAIN}")
    try:
        points = np.fromfile(path, "<f4").reshape(-1, 4)[:, :3]
    except OSError as error:
        raise DataError(f"sweep {path} cannot be read ({error.strerror}); fetch it again") from error
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.abs(points).max(axis=1)
    if not distance.max() <= FARTHEST or np.median(distance) < NEAREST:
        raise DataError(
            f"sweep {path} has points {distance.max():.3g} m away, median {np.median(distance):.3g} m; it must hold "
            "little-endian float32 metres, fetch it again or convert it"
        )
    return points


def read_calibration(path: Path) -> dict[str, np.ndarray]:
    """Return the numbers of a calibration file by name, without lines that are not numbers, such as the time.

    Raises:
        DataError: if the file is missing or not text.
    """
    numbers = {}
    for line in read_list_text(
        path, "calibration", "fetch it again; it comes with the recordings of the day"
    ).splitlines():
        name, _, values = line.partition(":")
        try:
            numbers[name.strip()] = np.array([float(value) for value in values.split()])
        except ValueError:
            continue
    return numbers


def raw_projection(folder: Path, camera: int) -> np.ndarray:
    """Return the projection of raw recordings from laser coordinates to pixels, P_rect · R_rect_00 · [R|T], (3, 4).

    Args:
        folder: folder of the day, with `calib_cam_to_cam.txt` and `calib_velo_to_cam.txt`.
        camera: 2 (left) or 3 (right).

    Raises:
        DataError: if a file is missing or lacks a matrix.
    """
    cameras, laser = folder / "calib_cam_to_cam.txt", folder / "calib_velo_to_cam.txt"
    to_camera = np.hstack([_rotation(laser, "R"), _matrix(laser, "T", 3, 1)])
    rectify = _rotation(cameras, "R_rect_00")
    return _intrinsic(cameras, f"P_rect_{camera:02d}") @ _square(rectify) @ _square(to_camera)


def object_projection(path: Path, camera: int = 2) -> np.ndarray:
    """Return the projection of the object benchmark from laser coordinates to pixels, P · R0_rect · Tr_velo_to_cam.

    Args:
        path: calibration file of the frame.
        camera: 2 (left) or 3 (right).

    Returns:
        (3, 4) matrix.

    Raises:
        DataError: if the file is missing or lacks a matrix.
    """
    to_camera = _rotation(path, "Tr_velo_to_cam", 4)
    return _intrinsic(path, f"P{camera}") @ _square(_rotation(path, "R0_rect")) @ _square(to_camera)


def object_focal(path: Path, camera: int = 2) -> float:
    """Return the focal length in pixels in a calibration file of the object benchmark.

    Args:
        path: calibration file of the frame.
        camera: 2 (left) or 3 (right).

    Raises:
        DataError: if the file is missing or lacks the matrix.
    """
    return float(_intrinsic(path, f"P{camera}")[0, 0])


def project(
    points: np.ndarray, projection: np.ndarray, size: tuple[int, int], depth: Literal["z", "x"] = "z"
) -> Tensor:
    """Return a sweep as a sparse depth map, with the nearest point of each pixel, as in the Eigen split.

    A point lies at pixel (round(u) - 1, round(v) - 1), as in KITTI's MATLAB code.

    Args:
        points: (N, 3) metres from the laser; points behind the laser (x < 0) or the camera are left out.
        projection: (3, 4) from laser coordinates to pixels.
        size: (height, width) of the image.
        depth: `z` along the axis of the camera, or `x` along the axis of the laser, about 0.3 m more, as in
            Monodepth2.

    Returns:
        (H, W) float32 metres, 0 at pixels without a point.
    """
    x, y, z = points[points[:, 0] >= 0].T.astype(np.float64)
    u, v, away = (row[0] * x + row[1] * y + row[2] * z + row[3] for row in projection)
    with np.errstate(divide="ignore", invalid="ignore"):
        column, row = np.round(u / away) - 1, np.round(v / away) - 1
    inside = (away > 0) & (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
    pixel = (row[inside] * size[1] + column[inside]).astype(np.int64)
    seen = np.full(size[0] * size[1], np.inf)
    np.minimum.at(seen, pixel, (away if depth == "z" else x)[inside])
    seen[np.isinf(seen)] = 0
    return torch.from_numpy(seen.reshape(size).astype(np.float32))


def _matrix(path: Path, name: str, rows: int, columns: int) -> np.ndarray:
    values = read_calibration(path).get(name)
    if values is None or values.size != rows * columns or not np.isfinite(values).all():
        raise DataError(f"calibration {path} has no {name} of {rows} x {columns} finite numbers; fetch it again")
    return values.reshape(rows, columns)


def _rotation(path: Path, name: str, columns: int = 3) -> np.ndarray:
    """Return a matrix after checking that its first three columns are a rotation."""
    matrix = _matrix(path, name, 3, columns)
    turn = matrix[:, :3]
    if not np.allclose(turn @ turn.T, np.eye(3), atol=ROUNDING) or np.linalg.det(turn) < 0:
        raise DataError(f"calibration {path} has a {name} that is not a rotation; fetch it again")
    return matrix


def _intrinsic(path: Path, name: str) -> np.ndarray:
    """Return the projection of a camera after checking that its focal lengths are positive."""
    matrix = _matrix(path, name, 3, 4)
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or not matrix[2].any():
        raise DataError(f"calibration {path} has a {name} without focal lengths; fetch it again")
    return matrix


def _square(matrix: np.ndarray) -> np.ndarray:
    """Return a 3 x 3 or 3 x 4 matrix as 4 x 4, for points with a fourth coordinate of 1."""
    square = np.eye(4)
    square[: matrix.shape[0], : matrix.shape[1]] = matrix
    return square
