"""Rooms: a procedural data set that needs no download, drawn by `depthclip.data.raycast`."""

from typing import Any, Literal

import numpy as np
import torch

from depthclip.data.base import DepthDataModule, DepthDataset, Sample
from depthclip.data.raycast import Picture, draw_room
from depthclip.evaluation.protocol import Scoring, View

SPLITS = ("train", "val", "test")
# Twice the size at which rooms are drawn, in whole strides of a ResNet: what tiny-rooms was trained on.
VIEW = View(size=(256, 320))


def room(split: str, index: int, seed: int = 0) -> Picture:
    """Draws room `index` of a split, 120 x 160 pixels; no two splits ever share a room.

    Raises:
        ValueError: if there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; choose one of {', '.join(SPLITS)}.")
    return draw_room(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index))))


class RoomsDataset(DepthDataset):
    """The first rooms of a split, each drawn when it is read, in about 15 ms.

    Args:
        split: `train`, `val` or `test`.
        size: how many rooms.
        seed: of all rooms; another seed gives other rooms in every split.
    """

    def __init__(self, split: Literal["train", "val", "test"], size: int, seed: int = 0) -> None:
        if size < 1:
            raise ValueError(f"{split}_size is {size}; ask for at least 1 room.")
        self.split, self.size, self.seed = split, size, seed

    def __len__(self) -> int:
        return self.size

    def name(self, index: int) -> str:
        """What room `index` is called."""
        return f"{self.split}/{index:05d}"

    def __getitem__(self, index: int) -> Sample:
        """The room as (3, 120, 160) uint8, its exact planar depth in 0.5 to 10 metres, and its type as the scene."""
        drawn = room(self.split, index, self.seed)
        image = torch.from_numpy(drawn.rgb).permute(2, 0, 1).contiguous()
        return Sample(image, torch.from_numpy(drawn.depth), self.name(index), drawn.scene.name)


class Rooms(DepthDataModule):
    """Procedural rooms and corridors with exact depth, for trying everything without a download.

    Dataset Format: drawn from a seed, 120 x 160 RGB and float32 planar depth (0.5-10 m), no invalid pixels.

    Dataset Features: four types of scene (small room, room, hall, corridor), textures of fixed metric size, a camera 1.5 m
    above the floor with a field of view of 70 degrees, light that falls off, haze and noise.

    Args:
        train_size: rooms for training and for fitted baselines.
        val_size: rooms for choices.
        test_size: rooms for figures.
        seed: of all rooms; the splits share none.
        view: what the model sees: a preset's name or a View.
        scoring: which pixels count: a preset's name or a Scoring.
        batch_size: images a batch.
        num_workers: processes that draw; 0 draws in the main one.
        on_error: as for every data module; rooms are always readable.

    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(
        self,
        train_size: int = 400,
        val_size: int = 100,
        test_size: int = 200,
        seed: int = 0,
        view: View | str = VIEW,
        scoring: Scoring | str = "whole",
        batch_size: int = 8,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        super().__init__(view, scoring, batch_size, num_workers, on_error)
        self.seed = seed
        self.splits = {
            "train": RoomsDataset("train", train_size, seed),
            "val": RoomsDataset("val", val_size, seed),
            "test": RoomsDataset("test", test_size, seed),
        }

    def samples(self, split: Literal["train", "val", "test"]) -> DepthDataset:
        """The rooms of a split."""
        return self.splits[split]

    def describe(self) -> dict[str, Any]:
        """The seed and how many rooms each split has."""
        return {"name": "Rooms", "seed": self.seed, "images": {split: len(rooms) for split, rooms in self.splits.items()}}
