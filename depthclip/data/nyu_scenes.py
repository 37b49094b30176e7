"""Types of scene and recordings of NYU's images."""

import re
from itertools import groupby
from pathlib import Path

from depthclip.data.samples import DepthDataset

BLOCK = 20  # frames


def scene_type(folder: str) -> str:
    """Return the type of scene of a folder, such as `kitchen` for `kitchen_0028b`."""
    return re.sub(r"_\d+[a-z]*$", "", folder)


def recordings(samples: DepthDataset) -> list[str]:
    """Return the recording of each image: its folder, or a block of consecutive frames if folders are types of scene.

    The labelled frames are in the order of their recordings, of about three frames each, but do not name them. Blocks
    of up to 20 consecutive frames of a type of scene divide very few recordings.
    """
    names = [samples.name(index) for index in range(len(samples))]
    scenes = [samples.scene(index) for index in range(len(samples))]
    folders = [Path(name).parent.name for name in names]
    if all(folders) and folders != scenes:
        return folders
    order = sorted(range(len(samples)), key=lambda index: Path(names[index]).stem)
    blocks: dict[int, str] = {}
    for number, (scene, members) in enumerate(groupby(order, key=lambda index: scenes[index])):
        for place, index in enumerate(members):
            blocks[index] = f"{scene} {number} {place // BLOCK}"
    return [blocks[index] for index in range(len(samples))]
