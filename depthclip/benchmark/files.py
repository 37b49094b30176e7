"""Image files to read: those of the recipe's data, or rendered rooms that are written into a folder."""

from pathlib import Path

import numpy as np
from PIL import Image

from depthclip.camera import focal_length
from depthclip.data.module import DepthDataModule, Loading
from depthclip.data.pairs import Pairs
from depthclip.data.raycast import draw_room
from depthclip.data.samples import DataError

IMAGES, DEPTHS = "*.color.jpg", "*.depth.png"
FOV = 62.0  # degrees; the Kinect of NYU Depth V2 has 63
QUALITY = 95  # of the JPEG files


def write_images(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write rooms with their depth: JPEG, and 16-bit PNG in millimetres, as `Pairs` reads them.

    Args:
        folder: an existing folder.
        count: number of rooms.
        size: (height, width) in pixels.
    """
    for k in range(count):
        drawn = draw_room(np.random.default_rng(k), *size, fov=FOV)
        Image.fromarray(drawn.rgb).save(folder / IMAGES.replace("*", f"{k:05d}"), quality=QUALITY)
        Image.fromarray(np.round(drawn.depth * 1000).astype(np.uint16)).save(folder / DEPTHS.replace("*", f"{k:05d}"))


def written_data(folder: Path, data: DepthDataModule, size: tuple[int, int], train: int) -> Pairs:
    """Return the images that `write_images` wrote, under the view and the scoring of another data module.

    Args:
        folder: folder of the images.
        data: the data module of the recipe.
        size: (height, width) of the images in pixels.
        train: number of images for the training split, to which heads may be fitted.
    """
    return Pairs(
        str(folder),
        IMAGES,
        DEPTHS,
        train=train,
        focal=focal_length(size[1], FOV),
        view=data.view,
        scoring=data.scoring,
        loading=Loading(data.loading.batch_size),
    )


def reads_files(data: DepthDataModule) -> bool:
    """Return whether a data module reads files that exist; False for rooms and for a missing folder."""
    try:
        data.setup("test")
    except DataError:
        return False
    samples = data.sets["test"]
    return len(samples) > 0 and bool(samples.files(0))
