"""Trains the small CLIP that ships with the package, from scratch, on two CPU cores: `python -m experiments.pretrain_rooms`.

Points of procedural rooms are contrasted with captions written from the generator's own knowledge: how far the point is, in
many wordings, and the colour, texture and shape of what is there. Half of the points are centres of crops that the tower
encodes as images of their own; the other half are cells of whole images, read as MaskCLIP does (value and output projection
of the attention pool only), so that both readouts share one space with the sentences. As several captions of a batch may be
true of one point, the targets are shares of the true captions instead of one index each.
"""

import argparse
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import open_clip
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from depthclip.data.raycast import Picture, Surface
from depthclip.data.rooms import room
from experiments.room_captions import CaptionWriter, agreement

BUNDLED = Path(__file__).parents[1] / "depthclip" / "encoder" / "bundled"
VIEW = (256, 320)  # height and width in pixels at which the tower sees a room of 120 x 160
PATCH, STRIDE = 64, 32


class Recipe(NamedTuple):
    """What decides the weights.

    Args:
        steps: optimiser steps.
        seed: of the weights, the rooms and the batches.
        rooms: training rooms, drawn once at the beginning.
        crop_images: images a step from which crops are cut.
        crops: crops cut from each of them.
        dense_images: images a step that are encoded whole.
        cells: cells read from each of them.
        learning_rate: at its height, after a hundredth of the steps; a cosine leads it to zero.
    """

    steps: int = 2400
    seed: int = 0
    rooms: int = 4000
    crop_images: int = 16
    crops: int = 4
    dense_images: int = 6
    cells: int = 24
    learning_rate: float = 3e-3


class Batch(NamedTuple):
    """One step's points: crops (N, 3, 64, 64), whole images (M, 3, H, W), which cells of them to read, and captions.

    `cells` (P,) are flat indices into the (M, h, w) grid; `tokens` (N + P, L) and `truth` (N + P, N + P) are in the order
    crops, cells.
    """

    crops: Tensor
    images: Tensor
    cells: Tensor
    tokens: Tensor
    truth: Tensor


def draw_rooms(split: str, count: int, seed: int) -> list[Picture]:
    """Draws the first rooms of a split, on all cores."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(partial(draw, split, seed), range(count), chunksize=16))


def draw(split: str, seed: int, index: int) -> Picture:
    """Draws one room (a function of its own so that processes can share the work)."""
    return room(split, index, seed)


def to_view(pictures: Sequence[Picture]) -> Tensor:
    """Returns pictures as the tower sees them, (B, 3, H, W), normalised with the mean and deviation of OpenAI's CLIP."""
    rgb = torch.from_numpy(np.stack([picture.rgb for picture in pictures])).permute(0, 3, 1, 2).float() / 255
    rgb = F.interpolate(rgb, size=VIEW, mode="bilinear")
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    return (rgb - mean[:, None, None]) / std[:, None, None]


class Batches:
    """Draws the batch of any step from the seed and the step's number alone, so that a resumed run sees the same ones."""

    def __init__(self, pictures: Sequence[Picture], recipe: Recipe, tokenizer: open_clip.SimpleTokenizer) -> None:
        self.pictures, self.recipe, self.tokenizer = pictures, recipe, tokenizer
        self.writer = CaptionWriter()

    def __call__(self, step: int) -> Batch:
        """Draws the batch of a step."""
        rng = np.random.default_rng([self.recipe.seed, step])
        recipe, (height, width), margin = self.recipe, VIEW, PATCH // 2
        chosen = rng.choice(len(self.pictures), recipe.crop_images + recipe.dense_images, replace=False)
        pictures = [self.pictures[index] for index in chosen]
        views = to_view(pictures)
        padded = F.pad(views[: recipe.crop_images], (margin,) * 4, mode="replicate")

        crops, points = [], []
        for number in range(recipe.crop_images):
            for _ in range(recipe.crops):
                row, column = int(rng.integers(height)), int(rng.integers(width))
                crops.append(padded[number, :, row : row + PATCH, column : column + PATCH])
                points.append((pictures[number], row, column))
        h, w = height // STRIDE, width // STRIDE
        cells = []
        for number in range(recipe.dense_images):
            for cell in rng.choice(h * w, recipe.cells, replace=False):
                row, column = divmod(int(cell), w)
                cells.append(number * h * w + int(cell))
                centre = row * STRIDE + STRIDE // 2, column * STRIDE + STRIDE // 2
                points.append((pictures[recipe.crop_images + number], *centre))

        depths, surfaces = zip(*(look_up(*point) for point in points), strict=True)
        captions = [self.writer.write(rng, *point) for point in zip(depths, surfaces, strict=True)]
        tokens = self.tokenizer([caption.text for caption in captions])
        truth = agreement(captions, depths, surfaces)
        return Batch(torch.stack(crops), views[recipe.crop_images :], torch.tensor(cells), tokens, truth)


def look_up(picture: Picture, row: int, column: int) -> tuple[float, Surface]:
    """Returns the depth in metres and the surface at a pixel of the view."""
    height, width = picture.depth.shape
    at = row * height // VIEW[0], column * width // VIEW[1]
    return float(picture.depth[at]), picture.scene.surfaces[picture.index[at]]


def read_cells(model: open_clip.CLIP, images: Tensor) -> Tensor:
    """Returns a feature of every cell, (B, h, w, D): value and output projection of the attention pool alone."""
    trunk = model.visual.forward_intermediates(images, indices=[4], intermediates_only=True)["image_intermediates"][-1]
    pool = model.visual.attnpool
    return pool.c_proj(pool.v_proj(trunk.permute(0, 2, 3, 1)))


def contrastive_loss(image: Tensor, text: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss with shares instead of indices: every caption that is true of a point counts as its own, and back."""
    logits = scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    by_point = F.cross_entropy(logits, truth / truth.sum(1, keepdim=True))
    by_caption = F.cross_entropy(logits.T, truth.T / truth.T.sum(1, keepdim=True))
    return (by_point + by_caption) / 2


class Pretraining:
    """The model, its optimiser and the number of steps done; what a checkpoint holds."""

    def __init__(self, recipe: Recipe, pictures: Sequence[Picture]) -> None:
        torch.manual_seed(recipe.seed)
        open_clip.add_model_config(BUNDLED / "tiny-rooms.json")
        self.recipe, self.done = recipe, 0
        self.model = open_clip.create_model("tiny-rooms")
        self.batches = Batches(pictures, recipe, open_clip.get_tokenizer("tiny-rooms"))
        named = dict(self.model.named_parameters())
        # Most rows of the token table belong to words that no caption holds: decay would only cost time there.
        decayed = [value for name, value in named.items() if value.ndim > 1 and "embedding" not in name]
        others = [value for name, value in named.items() if value.ndim <= 1 or "embedding" in name]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)

    def step(self) -> float:
        """Does one step and returns its loss."""
        rate = self.recipe.learning_rate * schedule(self.done / self.recipe.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self.batches(self.done)
        self.model.train()
        cells = read_cells(self.model, batch.images).flatten(0, 2)[batch.cells]
        points = torch.cat([self.model.encode_image(batch.crops), cells])
        text = self.model.encode_text(batch.tokens)
        loss = contrastive_loss(points, text, batch.truth, self.model.logit_scale.exp())
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        self.done += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Writes all that resuming needs."""
        state = {"done": self.done, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state | {"recipe": self.recipe._asdict()}, path)

    def load(self, path: Path) -> None:
        """Takes up a run where its checkpoint left it.

        Raises:
            ValueError: if the checkpoint was written with another recipe.
        """
        state = torch.load(path, weights_only=True)
        if state["recipe"] != self.recipe._asdict():
            raise ValueError(f"{path} was written with {state['recipe']}; resume with the same arguments or start anew.")
        self.done = state["done"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def schedule(progress: float) -> float:
    """Returns the share of the learning rate at a share of the run: a short rise, then a cosine to zero."""
    return min(progress / 0.02 + 0.01, 0.5 + 0.5 * math.cos(math.pi * progress))


def write_weights(model: open_clip.CLIP, path: Path) -> None:
    """Writes the weights in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, path)


def pretrain(recipe: Recipe, out: Path, resume: bool, save_every: int = 200) -> list[float]:
    """Trains the model, writes `tiny-rooms.safetensors` into `out`, and returns the losses of the steps done now."""
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "pretraining.pt"
    began = time.monotonic()
    training = Pretraining(recipe, draw_rooms("train", recipe.rooms, recipe.seed))
    if resume and checkpoint.exists():
        training.load(checkpoint)
    print(f"{recipe.rooms} rooms drawn in {time.monotonic() - began:.0f} s")
    losses: list[float] = []
    columns = TextColumn("loss {task.fields[loss]:.3f}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("", total=recipe.steps, completed=training.done, loss=float("nan"))
        while training.done < recipe.steps:
            losses.append(training.step())
            progress.update(bar, completed=training.done, loss=sum(losses[-50:]) / len(losses[-50:]))
            if training.done % save_every == 0:
                training.save(checkpoint)
    write_weights(training.model, out / "tiny-rooms.safetensors")
    return losses


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=Recipe().steps, help="optimiser steps")
    parser.add_argument("--seed", type=int, default=Recipe().seed, help="of the weights, the rooms and the batches")
    parser.add_argument("--rooms", type=int, default=Recipe().rooms, help="training rooms")
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain_rooms"), help="folder of weights and checkpoint")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in that folder")
    given = parser.parse_args(args)
    pretrain(Recipe(steps=given.steps, seed=given.seed, rooms=given.rooms), given.out, given.resume)


if __name__ == "__main__":
    main()
