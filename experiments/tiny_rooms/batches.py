"""Draw the training data of tiny-rooms: points of procedural rooms, and captions that are true of some points."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from depthclip.camera import focal_length
from depthclip.data.raycast import SCENES, Picture, Surface
from depthclip.data.rooms import HEIGHT, WIDTH, Split, room
from experiments.tiny_rooms.captions import SCENE_TEMPLATES, CaptionWriter, agreement

CONFIG = Path(__file__).parents[2] / "depthclip" / "encoder" / "bundled" / "tiny-rooms.json"
PATCH, STRIDE = 128, 32
CANONICAL = 70.0  # field of view in degrees through which canonical depth is depth
CENTRES = list(product(range(STRIDE // 2, HEIGHT, STRIDE), range(STRIDE // 2, WIDTH, STRIDE)))


class Recipe(NamedTuple):
    """The recipe of the weights.

    Args:
        steps: number of optimizer steps.
        seed: seed of the weights, the rooms and the batches.
        rooms: number of training rooms, which are drawn once at the beginning.
        crop_every: number of steps from one batch with crops to the next; many crops at once take little more time
            than few.
        crop_images: number of images from which crops are cut in such a batch.
        crops: number of crops of each of these images, each with a caption.
        dense_images: number of images per step that are encoded whole; all their cells are read.
        captions: number of cells of each whole image with a caption.
        learning_rate: largest learning rate.
        fov: bounds in degrees between which the field of view is drawn for each room. Captions then state the canonical
            depth, which is depth * focal length at 70 degrees / focal length of the room.
        start: weights at the beginning: "" for random weights, or as `pretrained` of a `FrozenCLIP`.
    """

    steps: int = 4500
    seed: int = 0
    rooms: int = 3000
    crop_every: int = 4
    crop_images: int = 4
    crops: int = 3
    dense_images: int = 5
    captions: int = 32
    learning_rate: float = 1.5e-3
    fov: tuple[float, float] = (CANONICAL, CANONICAL)
    start: str = ""


class CaptionBatch(NamedTuple):
    """The points and captions of a step.

    Args:
        crops: (N, 3, PATCH, PATCH) crops; N is 0 in most steps.
        images: (M, 3, H, W) whole images, of h * w cells each.
        tokens: (C, L) tokens of captions.
        truth: (N + M * h * w, C) how true each caption is of each crop and each cell, in [0, 1].
        wordings: (W, L) tokens of a sentence for each wording of a distance, all in the same template.
        metres: (N + M * h * w, W) how true each of these sentences is of each crop and each cell, in [0, 1].
        scenes: (M,) types of the whole images, as rows of `scene_tokens`.
        scene_tokens: (S, L) tokens of a sentence for each type of scene.
    """

    crops: Tensor
    images: Tensor
    tokens: Tensor
    truth: Tensor
    wordings: Tensor
    metres: Tensor
    scenes: Tensor
    scene_tokens: Tensor


def draw_rooms(split: Split, count: int, seed: int, fov: tuple[float, float] = Recipe().fov) -> list[Picture]:
    """Draw the first rooms of a split, on all cores."""
    with ProcessPoolExecutor(cores()) as pool:
        return list(pool.map(partial(room_at, split, seed, fov), range(count), chunksize=16))


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def room_at(split: Split, seed: int, fov: tuple[float, float], index: int) -> Picture:
    """Draw a room; the order of the arguments suits `partial`."""
    return room(split, index, seed, fov)


def to_view(pictures: Sequence[Picture]) -> Tensor:
    """Return pictures at the size of the tower, (B, 3, HEIGHT, WIDTH), normalized as for OpenAI's CLIP."""
    rgb = torch.from_numpy(np.stack([picture.rgb for picture in pictures])).permute(0, 3, 1, 2).float() / 255
    rgb = F.interpolate(rgb, size=(HEIGHT, WIDTH), mode="bilinear")
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    return (rgb - mean[:, None, None]) / std[:, None, None]


class CaptionBatches(Dataset[CaptionBatch]):
    """The batches of all steps; each depends only on the seed and the step, so that resuming gives the same batches."""

    def __init__(self, pictures: Sequence[Picture], recipe: Recipe) -> None:
        open_clip.add_model_config(CONFIG)
        self.pictures, self.recipe = pictures, recipe
        self.tokenizer, self.writer = open_clip.get_tokenizer("tiny-rooms"), CaptionWriter()

    def __getitem__(self, step: int) -> CaptionBatch:
        """Draw the batch of a step."""
        rng = np.random.default_rng([self.recipe.seed, step])
        recipe, margin = self.recipe, PATCH // 2
        apart = recipe.crop_images if step % recipe.crop_every == 0 else 0
        chosen = rng.choice(len(self.pictures), apart + recipe.dense_images, replace=False)
        pictures = [self.pictures[index] for index in chosen]
        views, crops = to_view(pictures), torch.empty(apart * recipe.crops, 3, PATCH, PATCH)
        points: list[tuple[float, Surface]] = []
        for number in range(apart):
            padded = F.pad(views[number], (margin,) * 4, mode="replicate")
            for _ in range(recipe.crops):
                row, column = int(rng.integers(HEIGHT)), int(rng.integers(WIDTH))
                crops[len(points)] = padded[:, row : row + PATCH, column : column + PATCH]
                points.append(look_up(pictures[number], row, column))
        captioned, whole = list(range(len(points))), pictures[apart:]
        for picture in whole:
            captioned += (len(points) + rng.choice(len(CENTRES), recipe.captions, replace=False)).tolist()
            points += [look_up(picture, *centre) for centre in CENTRES]

        captions = [self.writer.write(rng, *points[point]) for point in captioned]
        depths, surfaces = zip(*points, strict=True)
        truth = agreement(captions, depths, surfaces)
        wordings = self.writer.every_wording(rng)
        scenes = torch.tensor([list(SCENES).index(picture.scene.name) for picture in whole])
        template = SCENE_TEMPLATES[rng.integers(len(SCENE_TEMPLATES))]
        return CaptionBatch(
            crops,
            views[apart:],
            self.tokenizer([caption.text for caption in captions]),
            truth,
            self.tokenizer([wording.text for wording in wordings]),
            agreement(wordings, depths, surfaces),
            scenes,
            self.tokenizer([template.format(scene=scene) for scene in SCENES]),
        )


def stream(pictures: Sequence[Picture], recipe: Recipe, done: int) -> DataLoader[CaptionBatch]:
    """Return a loader of the batches of the remaining steps, which are drawn in another process."""
    steps = range(done, recipe.steps)
    return DataLoader(CaptionBatches(pictures, recipe), batch_size=None, sampler=steps, num_workers=1)


def look_up(picture: Picture, row: int, column: int) -> tuple[float, Surface]:
    """Return the canonical depth in metres and the surface at a pixel of the view."""
    height, width = picture.depth.shape
    at = row * height // HEIGHT, column * width // WIDTH
    canonical = focal_length(width, CANONICAL) / focal_length(width, picture.scene.camera.fov)
    return float(picture.depth[at]) * canonical, picture.scene.surfaces[picture.surface[at]]
