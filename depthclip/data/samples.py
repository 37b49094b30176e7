"""Samples, and the data sets that hold them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from depthclip.errors import InputError


class Sample(NamedTuple):
    """An image of a data set, with its ground truth.

    Args:
        image: (3, H, W) uint8 RGB.
        depth: (H', W') float32 metres, 0 = invalid; usually H x W, but a laser grid may be coarser. None for an image
            without ground truth.
        name: path of the image within the data set.
        scene: type of scene, or recording; "" if the data set names none.
        focal: focal length in pixels of the image; None if the data set does not state it.
    """

    image: Tensor
    depth: Tensor | None
    name: str
    scene: str = ""
    focal: float | None = None


class DepthDataset(Dataset[Sample]):
    """The base of all data sets; subclasses define `__len__`, `name` and `__getitem__`.

    Raises:
        DataError: from `__getitem__`, with the name of a file that cannot be read.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def name(self, index: int) -> str:
        """Return the name of image `index` without reading it."""
        raise NotImplementedError

    def scene(self, index: int) -> str:
        """Return the scene of image `index` without reading it, or "" if the data set names none."""
        return ""

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that image `index` is read from, or () if it is computed."""
        return ()

    def has_truth(self, index: int) -> bool:
        """Return whether image `index` has ground truth, without reading it."""
        return True

    def truth(self, index: int) -> tuple[Tensor | None, tuple[int, int]]:
        """Return the depth of image `index` as in its sample, and the (height, width) of the image.

        A data set overrides this if it can read both without decoding the image.
        """
        sample = self[index]
        return sample.depth, (sample.image.shape[-2], sample.image.shape[-1])

    def __getitem__(self, index: int) -> Sample:
        raise NotImplementedError


class DataError(InputError):
    """A file of a data set is missing or invalid; the message names the file and how to correct it."""


class Subset(DepthDataset):
    """The samples of a data set at some indices.

    Args:
        samples: data set.
        indices: indices into it, in the order of the subset.
    """

    def __init__(self, samples: DepthDataset, indices: Sequence[int]) -> None:
        self.samples = samples
        self.indices = list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        """Return the name of image `index` without reading it."""
        return self.samples.name(self.indices[index])

    def scene(self, index: int) -> str:
        """Return the scene of image `index` without reading it."""
        return self.samples.scene(self.indices[index])

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that image `index` is read from."""
        return self.samples.files(self.indices[index])

    def has_truth(self, index: int) -> bool:
        """Return whether image `index` has ground truth."""
        return self.samples.has_truth(self.indices[index])

    def truth(self, index: int) -> tuple[Tensor | None, tuple[int, int]]:
        """Return the depth of image `index`, and the (height, width) of the image."""
        return self.samples.truth(self.indices[index])

    def __getitem__(self, index: int) -> Sample:
        return self.samples[self.indices[index]]


def with_truth(samples: DepthDataset, split: str) -> DepthDataset:
    """Return the samples with ground truth, and warn if others are left out.

    Args:
        samples: data set.
        split: name of its split, for the messages.

    Raises:
        DataError: if there are none.
    """
    indices = [index for index in range(len(samples)) if samples.has_truth(index)]
    if len(indices) == len(samples):
        return samples
    if not indices:
        raise DataError(
            f"none of the {len(samples)} images of the {split} split has a depth map, which is needed here; give their "
            "depth, or use predict"
        )
    left_out = len(samples) - len(indices)
    warnings.warn(f"{left_out} of {len(samples)} images of the {split} split have no depth map: left out", stacklevel=2)
    return Subset(samples, indices)


def choose_shots(samples: DepthDataset, shots: int, per_scene: bool, seed: int) -> DepthDataset:
    """Draw a few training images and keep their order.

    Args:
        samples: training images.
        shots: number of images.
        per_scene: draw this number of images of each scene instead of in total.
        seed: seed of the draw.

    Raises:
        InputError: if there are fewer images.
    """
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed)).tolist()
    groups: dict[str, list[int]] = {}
    for index in order:
        groups.setdefault(samples.scene(index) if per_scene else "", []).append(index)
    for scene, members in groups.items():
        if len(members) < shots:
            raise InputError(
                f"shots {shots} is more than the {len(members)} training images"
                f"{f' of scene {scene}' if scene else ''}; set shots to at most {len(members)}, or null for all"
            )
    return Subset(samples, sorted(index for members in groups.values() for index in members[:shots]))
