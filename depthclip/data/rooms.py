"""Procedural rooms, a data set that needs no download."""

from collections.abc import Sequence
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depthclip.camera import focal_length
from depthclip.checks import check_choice, check_count, check_number, check_pair
from depthclip.data.augment import Augment
from depthclip.data.module import DepthDataModule, Loading, Shots, Split
from depthclip.data.raycast import SCENES, Picture, draw_depth, draw_room, random_type
from depthclip.data.samples import DepthDataset, Sample
from depthclip.errors import InputError
from depthclip.protocol import SCORINGS, Scoring, View

SPLITS: tuple[Split, ...] = ("train", "val", "test")
# Twice the size of a room's picture, rounded to multiples of a ResNet's stride; tiny-rooms was trained on it.
HEIGHT, WIDTH = 256, 320
VIEW = View(size=(HEIGHT, WIDTH))
MOST_ROOMS = 1_000_000
LARGEST_ROOMS_SEED = 2**63 - 1
FOVS = (20.0, 120.0)  # degrees; through a wider lens, few rooms have a depth of 0.5 to 10 m at every pixel
KEPT = 500  # drawn rooms of a split that are kept in memory, 68 MB


def room(split: Split, index: int, seed: int = 0, fov: float | tuple[float, float] = 70.0) -> Picture:
    """Draw room `index` of a split, 120 x 160 pixels.

    Args:
        split: `train`, `val` or `test`.
        index: number of the room.
        seed: seed of all rooms.
        fov: field of view across the width in degrees, or the bounds between which it is drawn for each room.
    """
    rng, across = _start(split, index, seed, fov)
    return draw_room(rng, fov=across)


def room_depth(split: Split, index: int, seed: int = 0, fov: float | tuple[float, float] = 70.0) -> np.ndarray:
    """Return the depth of room `index` of a split, (120, 160) in metres, without drawing its colours.

    Args:
        split: `train`, `val` or `test`.
        index: number of the room.
        seed: seed of all rooms.
        fov: field of view across the width in degrees, or the bounds between which it is drawn for each room.
    """
    rng, across = _start(split, index, seed, fov)
    return draw_depth(rng, fov=across)


def fov_of(fov: float | tuple[float, float]) -> tuple[float, float] | float:
    """Return a field of view, or its two bounds, as float.

    Raises:
        InputError: if a number is out of its range, or the bounds do not ascend.
    """
    if not isinstance(fov, tuple | list):
        check_number("fov", fov, at_least=FOVS[0], at_most=FOVS[1], unit="degrees")
        return float(fov)
    check_pair("fov", fov, "a number of degrees or [least, largest]")
    for bound in fov:
        check_number(f"fov {fov!r}: bound", bound, at_least=FOVS[0], at_most=FOVS[1], unit="degrees")
    if fov[0] > fov[1]:
        raise InputError(f"fov {fov!r} must be a number of degrees or [least, largest]; swap the bounds")
    return float(fov[0]), float(fov[1])


def generator(split: Split, index: int, seed: int) -> np.random.Generator:
    """Return the random generator of a room, which differs for each split and index.

    Raises:
        InputError: if there is no such split.
    """
    check_choice("split", split, SPLITS)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index)))


def _start(split: Split, index: int, seed: int, fov: float | tuple[float, float]) -> tuple[np.random.Generator, float]:
    """Return the generator of a room and its field of view in degrees."""
    rng = generator(split, index, seed)
    # from a child of the generator, so that the field of view takes no draw from the room
    return rng, rng.spawn(1)[0].uniform(*fov) if isinstance(fov, tuple) else fov


class RoomsDataset(DepthDataset):
    """The first rooms of a split; a room is drawn when it is first read, in about 10 ms, and then kept in memory.

    Args:
        split: `train`, `val` or `test`.
        size: number of rooms.
        seed: seed of all rooms; another seed leads to other rooms in every split.
        types: types of rooms, of which the first `size` are taken; None for all.
        fov: field of view across the width, from 20 to 120 degrees; or two bounds between which it is drawn for each
            room.

    Raises:
        InputError: if the size, seed or field of view is out of range, or a type is unknown.
    """

    def __init__(
        self,
        split: Split,
        size: int,
        seed: int = 0,
        types: Sequence[str] | None = None,
        fov: float | tuple[float, float] = 70.0,
    ) -> None:
        check_count(f"{split}_size", size, at_most=MOST_ROOMS, unit="rooms")
        check_count("rooms_seed", seed, at_least=0, at_most=LARGEST_ROOMS_SEED)
        if types is not None and (isinstance(types, str) or not types or set(types) - SCENES.keys()):
            raise InputError(f"{split}_types {types!r} must be a list of {', '.join(SCENES)}, or null for all")
        self.split, self.size, self.seed, self.fov = split, size, seed, fov_of(fov)
        of_types = (k for k in count() if types is not None and random_type(generator(split, k, seed)) in types)
        self.rooms: Sequence[int] = range(size) if types is None else list(islice(of_types, size))
        self.drawn: dict[int, Sample] = {}

    def __len__(self) -> int:
        return self.size

    def name(self, index: int) -> str:
        """Return the name of room `index`."""
        # cached features are stored by name, so that the names of rooms of different seeds or cameras must differ
        seed = f"-{self.seed}" if self.seed else ""
        bounds = self.fov if isinstance(self.fov, tuple) else (self.fov,)
        fov = f"-fov{'-'.join(map(str, bounds))}" if self.fov != 70.0 else ""
        return f"{self.split}{seed}{fov}/{self.rooms[index]:05d}"

    def scene(self, index: int) -> str:
        """Return the type of room `index`."""
        return random_type(generator(self.split, self.rooms[index], self.seed))

    def truth(self, index: int) -> tuple[Tensor | None, tuple[int, int]]:
        """Return the depth of room `index` and its (height, width); its colours are not drawn."""
        if index in self.drawn:
            return super().truth(index)
        depth = torch.from_numpy(room_depth(self.split, self.rooms[index], self.seed, self.fov))
        return depth, (depth.shape[0], depth.shape[1])

    def __getitem__(self, index: int) -> Sample:
        """Return a room as (3, 120, 160) uint8, with exact planar depth of 0.5 to 10 metres and its type as scene."""
        if index in self.drawn:
            return self.drawn[index]
        drawn = room(self.split, self.rooms[index], self.seed, self.fov)
        image = torch.from_numpy(drawn.rgb).permute(2, 0, 1).contiguous()
        focal = focal_length(image.shape[-1], drawn.scene.camera.fov)
        sample = Sample(image, torch.from_numpy(drawn.depth), self.name(index), drawn.scene.name, focal)
        if len(self.drawn) < KEPT:
            self.drawn[index] = sample
        return sample


class Rooms(DepthDataModule):
    """Procedural rooms and corridors with exact depth, which need no download.

    Dataset Format: 120 x 160 RGB images and float32 planar depth (0.5-10 m) without invalid pixels, drawn from a seed.

    Dataset Features: four types of room (small room, room, hall, corridor), textures of fixed metric size, a camera
    1.5 m above the floor with a field of view of 70 degrees, lamps whose light decreases with distance, haze and noise.

    Args:
        train_size: number of training rooms.
        val_size: number of validation rooms.
        test_size: number of test rooms.
        rooms_seed: seed of all rooms; no room is in two splits.
        train_types: types of training and validation rooms; null for all.
        test_types: types of test rooms; null for all.
        fov: field of view across the width of the images, from 20 to 120 degrees; or [least, largest], between which
            it is drawn for each room.
        view: part of an image that the model sees: a `View`, or the name of a preset.
        scoring: pixels that count: a `Scoring`, or the name of a preset.
        loading: batch size, worker processes, unreadable files, and the order of training images.
        shots: number of training images, or a `Shots`, whose scenes are types of room; null for all.
        augment: augmentation of training images and their depth; null for none.

    Raises:
        InputError: if a size, the seed or the field of view is out of range, or a type is unknown.
    """

    def __init__(
        self,
        train_size: int = 400,
        val_size: int = 100,
        test_size: int = 200,
        rooms_seed: int = 0,
        train_types: list[str] | None = None,
        test_types: list[str] | None = None,
        view: View | str = VIEW,
        scoring: Scoring | str = SCORINGS["whole"],
        loading: Loading = Loading(),
        shots: Shots | int | None = None,
        augment: Augment | None = None,
        fov: float | tuple[float, float] = 70.0,
    ) -> None:
        super().__init__(view, scoring, loading, shots, augment)
        self.rooms_seed = int(rooms_seed)
        self.rooms = {
            "train": RoomsDataset("train", train_size, rooms_seed, train_types, fov),
            "val": RoomsDataset("val", val_size, rooms_seed, train_types, fov),
            "test": RoomsDataset("test", test_size, rooms_seed, test_types, fov),
        }

    def samples(self, split: Split) -> DepthDataset:
        """Return the rooms of a split."""
        return self.rooms[split]

    def metadata(self) -> dict[str, Any]:
        """Return the seed, the field of view and the number of rooms."""
        return super().metadata() | {"seed": self.rooms_seed, "fov": self.rooms["test"].fov}
