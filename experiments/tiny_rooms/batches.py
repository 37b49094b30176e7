"""Draw the training data of tiny-rooms: points of procedural rooms, and captions that are true of some points."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
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
FOV = 70.0  # field of view of the rooms in degrees, unless others are given
FOCAL = focal_length(WIDTH, FOV)  # of their images, in pixels


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
        dense_images: number of images of 256 x 320 pixels per step that are encoded whole; all their cells are read.
            There are fewer larger and more smaller images, at least 2.
        captions: number of cells of each whole image with a caption.
        learning_rate: largest learning rate.
        fov: fields of view in degrees, one or more. Room i has number i modulo their count, and a step has rooms of one
            field of view.
        focal: focal length in pixels to which all images are resized, so that a pixel covers the same angle in each.
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
    fov: tuple[float, ...] = (FOV,)
    focal: float = FOCAL
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


def draw_rooms(split: Split, count: int, seed: int, fov: Sequence[float] = Recipe().fov) -> list[Picture]:
    """Draw the first rooms of a split, on all cores; their fields of view alternate."""
    with ProcessPoolExecutor(cores()) as pool:
        return list(pool.map(partial(room_at, split, seed, tuple(fov)), range(count), chunksize=16))


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def room_at(split: Split, seed: int, fov: tuple[float, ...], index: int) -> Picture:
    """Draw a room; the order of the arguments suits `partial`."""
    return room(split, index, seed, fov[index % len(fov)])


def size_at(fov: float, focal: float = FOCAL) -> tuple[int, int]:
    """Return the (height, width) of the image of a room through a field of view, at a focal length in pixels."""
    zoom = focal / focal_length(WIDTH, fov)
    return round(HEIGHT * zoom), round(WIDTH * zoom)


def dense_images(recipe: Recipe, size: tuple[int, int]) -> int:
    """Return the number of images of a size that a step encodes whole."""
    return max(2, round(recipe.dense_images * HEIGHT * WIDTH / (size[0] * size[1])))


def least_rooms(recipe: Recipe) -> int:
    """Return the least number of rooms for which each field of view has all the images of a step."""
    most = max(dense_images(recipe, size_at(fov, recipe.focal)) for fov in recipe.fov)
    return len(recipe.fov) * (recipe.crop_images + most)


def centres(height: int, width: int) -> list[tuple[float, float]]:
    """Return the (row, column) of the centres of the tower's cells in an image, in pixels."""
    rows, columns = (height + 1) // STRIDE, (width + 1) // STRIDE  # the first layer rounds up, the others round down
    return [((i + 0.5) * height / rows, (j + 0.5) * width / columns) for i in range(rows) for j in range(columns)]


def to_view(pictures: Sequence[Picture], size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    """Return pictures of a size, (B, 3, height, width), normalized as for OpenAI's CLIP."""
    rgb = torch.from_numpy(np.stack([picture.rgb for picture in pictures])).permute(0, 3, 1, 2).float() / 255
    rgb = F.interpolate(rgb, size=size, mode="bilinear")
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
        # from a child of the generator, so that the field of view takes no draw from the batch
        lens = int(rng.spawn(1)[0].integers(len(recipe.fov)))
        members = range(lens, len(self.pictures), len(recipe.fov))
        height, width = size_at(recipe.fov[lens], recipe.focal)
        apart = recipe.crop_images if step % recipe.crop_every == 0 else 0
        chosen = rng.choice(len(members), apart + dense_images(recipe, (height, width)), replace=False)
        pictures = [self.pictures[members[index]] for index in chosen]
        views, crops = to_view(pictures, (height, width)), torch.empty(apart * recipe.crops, 3, PATCH, PATCH)
        points: list[tuple[float, Surface]] = []
        for number in range(apart):
            padded = F.pad(views[number], (margin,) * 4, mode="replicate")
            for _ in range(recipe.crops):
                row, column = int(rng.integers(height)), int(rng.integers(width))
                crops[len(points)] = padded[:, row : row + PATCH, column : column + PATCH]
                points.append(look_up(pictures[number], row, column, (height, width)))
        captioned, whole, cells = list(range(len(points))), pictures[apart:], centres(height, width)
        for picture in whole:
            some = rng.choice(len(cells), min(recipe.captions, len(cells)), replace=False)
            captioned += (len(points) + some).tolist()
            points += [look_up(picture, row, column, (height, width)) for row, column in cells]

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


def look_up(picture: Picture, row: float, column: float, size: tuple[int, int]) -> tuple[float, Surface]:
    """Return the depth in metres and the surface at a (row, column) of an image of a picture with this size."""
    height, width = picture.depth.shape
    at = int(row * height / size[0]), int(column * width / size[1])
    return float(picture.depth[at]), picture.scene.surfaces[picture.surface[at]]
