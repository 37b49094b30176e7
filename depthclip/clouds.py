"""Point clouds of depth maps, with the colours of the image."""

import importlib.util
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from depthclip.errors import InputError
from depthclip.shown import Prediction

CLOUDS = ("ply", "glb")
INSTALL = "pip install 'depthclip[points]'"


def check_trimesh(formats: Sequence[str]) -> None:
    """Raise unless trimesh is installed, which writes point clouds.

    Args:
        formats: requested formats of clouds, for the message.

    Raises:
        InputError: with the command that installs it.
    """
    if importlib.util.find_spec("trimesh") is None:
        raise InputError(f"formats {formats} need trimesh, which is not installed; use {INSTALL}")


def points_of(depth: np.ndarray, focal: float, center: tuple[float, float]) -> np.ndarray:
    """Return the points of a depth map in the space of the camera, (H, W, 3) float32 metres.

    The axes are those of glTF: x to the right, y up, z towards the viewer. The camera is the origin and looks along -z,
    so that a pixel (u, v) with depth d is at ((u - cx) d / f, (cy - v) d / f, -d).

    Args:
        depth: (H, W) metres along the optical axis.
        focal: focal length f in pixels.
        center: (cx, cy), the pixel on the optical axis; the centre of the upper left pixel is (0.5, 0.5).
    """
    height, width = depth.shape
    across = (np.arange(width, dtype=np.float32) + 0.5 - center[0]) / focal
    down = (np.arange(height, dtype=np.float32) + 0.5 - center[1]) / focal
    return np.stack([across[None] * depth, -down[:, None] * depth, -depth], axis=-1).astype(np.float32)


def write_cloud(file: BinaryIO, prediction: Prediction, file_type: str) -> None:
    """Write the points of a prediction, one for each pixel that the model saw and whose depth is valid.

    Args:
        file: opened binary file.
        prediction: depth and image at the size that the model saw, and the focal length.
        file_type: `ply` or `glb`.

    Raises:
        InputError: if the focal length is not known.
    """
    import trimesh  # an optional dependency

    if prediction.focal is None:
        raise InputError(
            f"the focal length of {prediction.name} is not known (EXIF FocalLengthIn35mmFilm), but {file_type} needs "
            "it; set data.fov, or use formats png and npy for this image"
        )
    depth = prediction.seen.numpy()
    height, width = depth.shape
    points = points_of(depth, prediction.focal, prediction.center or (width / 2, height / 2))
    colours = (prediction.rgb.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    valid = depth > 0
    cloud = trimesh.PointCloud(points[valid], colors=colours[valid])
    file.write(cloud.export(file_type=file_type))
