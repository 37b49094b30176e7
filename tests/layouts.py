"""Small copies of the data sets in their real formats, for tests that read them."""

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

SAMPLES = Path(__file__).parents[2] / "shared" / "samples"


def picture(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """A random image, (H, W, 3) uint8; large images are tiled, which compresses fast."""
    tile = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    return np.tile(tile, (-(-height // 24), -(-width // 32), 1))[:height, :width]


def values(seed: int, height: int = 24, width: int = 32, holes: float = 0.3) -> np.ndarray:
    """Random 16-bit depth values with holes, (H, W) uint16; large maps are tiled."""
    rng = np.random.default_rng(seed)
    tile = rng.integers(600, 9900, (24, 32), np.uint16)
    tile[rng.random(tile.shape) < holes] = 0
    return np.tile(tile, (-(-height // 24), -(-width // 32)))[:height, :width]


def write_image(path: Path, pixels: np.ndarray) -> Path:
    """Write an image, lossless as PNG, else as JPEG; 16-bit values become a 16-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_pgm(path: Path, depth: np.ndarray, swapped: bool = False) -> Path:
    """Write a 16-bit PGM, big-endian as in its standard; NYU's raw dumps are little-endian."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"P5 {depth.shape[1]} {depth.shape[0]} 65535\n".encode()
    path.write_bytes(head + depth.astype("<u2" if swapped else ">u2").tobytes())
    return path


def write_pair(image: Path, depth: Path, seed: int, height: int = 24, width: int = 32) -> None:
    """Write a random image and its depth map."""
    write_image(image, picture(seed, height, width))
    write_image(depth, values(seed, height, width))


def link(source: Path, path: Path) -> None:
    """Link a file to another name, so that hundreds of official names need no space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, path)


def write_labelled(path: Path, scenes: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write NYU's labelled .mat as MATLAB v7.3 does: HDF5 after 512 further bytes, axes reversed, text by reference.

    Returns:
        What it holds, as people think of it: images (N, H, W, 3), raw and filled depth (N, H, W) in metres.
    """
    count = len(scenes)
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (count, 24, 32, 3), np.uint8)
    filled = rng.uniform(0.7, 9.9, (count, 24, 32)).astype(np.float32)
    raw = np.where(rng.random(filled.shape) < 0.3, 0, filled).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("images", data=images.transpose(0, 3, 2, 1), chunks=(1, 3, 32, 24), compression="gzip")
        file.create_dataset("depths", data=filled.transpose(0, 2, 1), chunks=(1, 32, 24), compression="gzip")
        file.create_dataset("rawDepths", data=raw.transpose(0, 2, 1), chunks=(1, 32, 24), compression="gzip")
        references = file.create_dataset("sceneTypes", (1, count), h5py.ref_dtype)
        for index, scene in enumerate(scenes):
            characters = np.array([[ord(letter)] for letter in scene], np.uint16)
            references[0, index] = file.create_dataset(f"#refs#/{index}", data=characters).ref
    with path.open("r+b") as plain:
        plain.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")
    return images, raw, filled


def write_splits(path: Path, train: Sequence[int], test: Sequence[int]) -> None:
    """Write splits.mat from indices counted from 0; the file counts from 1."""
    columns = {"trainNdxs": train, "testNdxs": test}
    savemat(path, {name: np.array([[index + 1] for index in indices], np.uint16) for name, indices in columns.items()})


def write_frame(path: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Write an HDF5 frame as Fast-Depth stores it; return the image (H, W, 3) and the depth in metres."""
    image, depth = picture(seed), values(seed).astype(np.float32) / 1000
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["rgb"], file["depth"] = image.transpose(2, 0, 1), depth
    return image, depth


def write_laser_grid(path: Path, seed: int) -> np.ndarray:
    """Write a Make3D .mat; return its distances, (55, 305)."""
    grid = np.random.default_rng(seed).uniform(1, 81, (55, 305, 4))
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"Position3DGrid": grid}, do_compression=True)
    return grid[..., 3]


def write_calibration(folder: Path) -> np.ndarray:
    """Write the raw calibration files of a day; return P_rect_02 · R_rect_00 · [R|T], (3, 4)."""
    intrinsic = np.array([[721.5377, 0, 609.5593, 44.85728], [0, 721.5377, 172.854, 0.2163791], [0, 0, 1, 0.002745884]])
    rectify = np.array([[0.99992, 0.0098, -0.0074], [-0.0099, 0.99994, -0.0043], [0.0074, 0.0044, 0.99996]])
    turn = np.array([[0.0075, -0.99997, -0.0006], [0.0148, 0.0007, -0.9999], [0.9999, 0.0075, 0.0148]])
    shift = np.array([-0.0041, -0.0763, -0.2718])
    folder.mkdir(parents=True, exist_ok=True)

    def text(matrix: np.ndarray) -> str:
        return " ".join(f"{value:.9e}" for value in matrix.ravel())

    (folder / "calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.950000e-02\n"
        f"S_rect_02: 1.242000e+03 3.750000e+02\nR_rect_00: {text(rectify)}\n"
        f"P_rect_00: {text(np.eye(3, 4))}\nP_rect_02: {text(intrinsic)}\nP_rect_03: {text(intrinsic)}\n"
    )
    (folder / "calib_velo_to_cam.txt").write_text(
        f"calib_time: 15-Mar-2012 11:37:16\nR: {text(turn)}\nT: {text(shift)}\ndelta_f: 0.0 0.0\ndelta_c: 0.0 0.0\n"
    )
    rectify_4, turn_4 = np.eye(4), np.eye(4)
    rectify_4[:3, :3], turn_4[:3, :3], turn_4[:3, 3] = rectify, turn, shift
    return intrinsic @ rectify_4 @ turn_4


def write_sweep(path: Path, seed: int, points: int = 4000) -> np.ndarray:
    """Write a laser sweep all around the car; return it, (N, 4) float32."""
    rng = np.random.default_rng(seed)
    around, away = rng.uniform(-np.pi, np.pi, points), rng.uniform(3, 70, points)
    sweep = np.stack(
        [away * np.cos(around), away * np.sin(around), rng.uniform(-1.8, 1, points), rng.random(points)], 1
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep.astype("<f4").tofile(path)
    return sweep.astype(np.float32)


def projected(sweep: np.ndarray, matrix: np.ndarray, height: int, width: int, along: str = "z") -> np.ndarray:
    """A sweep as a sparse map, point by point: slow, and literally as defined."""
    depth = np.zeros((height, width))
    for x, y, z, _ in sweep.astype(np.float64):
        u, v, w = matrix @ (x, y, z, 1)
        if x < 0 or w <= 0:
            continue
        row, column = int(np.round(v / w)) - 1, int(np.round(u / w)) - 1
        if 0 <= row < height and 0 <= column < width:
            value = w if along == "z" else x
            if depth[row, column] == 0 or value < depth[row, column]:
                depth[row, column] = value
    return depth.astype(np.float32)
