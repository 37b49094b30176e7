"""Trains the small CLIP that ships with the package, from scratch, on two CPU cores.

`python -m experiments.pretrain_rooms` contrasts points of procedural rooms with captions written from the generator's
own knowledge: how far the point is, in many wordings, and the colour, texture and shape of what is there. Some of the
points are centres of crops that the tower encodes as images of their own; the others are cells of whole images, read
both as queries of the attention pool and as MaskCLIP does (its value and output projection only), so that all three
readouts share one space with the sentences. As several captions of a batch may be true of one point, the targets are
shares of the true captions instead of one index each. A whole image, pooled, is told its type of scene.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import open_clip
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from depthclip.data.base import Split
from depthclip.data.raycast import SCENES, Picture, Surface
from depthclip.data.rooms import HEIGHT, WIDTH, room
from depthclip.encoder.readouts import AttentionPool, MaskCLIP
from depthclip.encoder.towers import Tower, tower_of
from experiments.choose_rooms import Report, name_of, report
from experiments.room_captions import (
    DISTANCES,
    HELD_OUT_DISTANCES,
    HELD_OUT_TEMPLATES,
    SCENE_TEMPLATES,
    CaptionWriter,
    agreement,
)

CONFIG = Path(__file__).parents[1] / "depthclip" / "encoder" / "bundled" / "tiny-rooms.json"
PATCH, STRIDE = 128, 32
CENTRES = list(product(range(STRIDE // 2, HEIGHT, STRIDE), range(STRIDE // 2, WIDTH, STRIDE)))
SETTLED = 0.8  # the share of the steps after which the normalisation stays as it is
SCENE_WEIGHT = 0.2


class Recipe(NamedTuple):
    """What decides the weights.

    Args:
        steps: optimiser steps.
        seed: of the weights, the rooms and the batches.
        rooms: training rooms, drawn once at the beginning.
        crop_every: every so many steps there are crops; many at a time cost little more than few.
        crop_images: images from which crops are then cut.
        crops: crops cut from each of them, with a caption each.
        dense_images: images a step that are encoded whole; all their cells are read.
        captions: cells of each of them that a caption is written about.
        learning_rate: at its height.
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


class Batch(NamedTuple):
    """One step's points and captions.

    Args:
        crops: (N, 3, 128, 128) images of their own; none in most steps.
        images: (M, 3, H, W) whole ones, of h * w cells each.
        tokens: (C, L) captions.
        truth: (N + M * h * w, C), how true each caption is of each crop and each cell, in [0, 1].
        wordings: (W, L) one sentence for each wording of a distance, all in one template.
        metres: (N + M * h * w, W), how true each of them is of each crop and each cell.
        scenes: (M,) the types of the whole images, as rows of `scene_tokens`.
        scene_tokens: (S, L) one sentence for each type of scene.
    """

    crops: Tensor
    images: Tensor
    tokens: Tensor
    truth: Tensor
    wordings: Tensor
    metres: Tensor
    scenes: Tensor
    scene_tokens: Tensor


def draw_rooms(split: Split, count: int, seed: int) -> list[Picture]:
    """Draws the first rooms of a split, on all cores."""
    with ProcessPoolExecutor(cores()) as pool:
        return list(pool.map(partial(draw, split, seed), range(count), chunksize=16))


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def draw(split: Split, seed: int, index: int) -> Picture:
    """Draws one room (a function of its own so that processes can share the work)."""
    return room(split, index, seed)


def to_view(pictures: Sequence[Picture]) -> Tensor:
    """Returns pictures as the tower sees them, (B, 3, HEIGHT, WIDTH), normalised as OpenAI's CLIP wants it."""
    rgb = torch.from_numpy(np.stack([picture.rgb for picture in pictures])).permute(0, 3, 1, 2).float() / 255
    rgb = F.interpolate(rgb, size=(HEIGHT, WIDTH), mode="bilinear")
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    return (rgb - mean[:, None, None]) / std[:, None, None]


class Batches(Dataset[Batch]):
    """Draws the batch of any step from the seed and the step's number alone, so that resuming changes nothing."""

    def __init__(self, pictures: Sequence[Picture], recipe: Recipe) -> None:
        open_clip.add_model_config(CONFIG)
        self.pictures, self.recipe = pictures, recipe
        self.tokenizer, self.writer = open_clip.get_tokenizer("tiny-rooms"), CaptionWriter()

    def __getitem__(self, step: int) -> Batch:
        """Draws the batch of a step."""
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
        told, whole = list(range(len(points))), pictures[apart:]
        for picture in whole:
            told += (len(points) + rng.choice(len(CENTRES), recipe.captions, replace=False)).tolist()
            points += [look_up(picture, *centre) for centre in CENTRES]

        captions = [self.writer.write(rng, *points[point]) for point in told]
        depths, surfaces = zip(*points, strict=True)
        truth = agreement(captions, depths, surfaces)
        wordings = self.writer.every_wording(rng)
        scenes = torch.tensor([list(SCENES).index(picture.scene.name) for picture in whole])
        template = SCENE_TEMPLATES[rng.integers(len(SCENE_TEMPLATES))]
        return Batch(
            crops,
            views[apart:],
            self.tokenizer([caption.text for caption in captions]),
            truth,
            self.tokenizer([wording.text for wording in wordings]),
            agreement(wordings, depths, surfaces),
            scenes,
            self.tokenizer([template.format(scene=scene) for scene in SCENES]),
        )


def stream(pictures: Sequence[Picture], recipe: Recipe, done: int) -> DataLoader[Batch]:
    """Draws the batches of the steps that are left in another process, ahead of their use."""
    steps = range(done, recipe.steps)
    return DataLoader(Batches(pictures, recipe), batch_size=None, sampler=steps, num_workers=1)


def look_up(picture: Picture, row: int, column: int) -> tuple[float, Surface]:
    """Returns the depth in metres and the surface at a pixel of the view."""
    height, width = picture.depth.shape
    at = row * height // HEIGHT, column * width // WIDTH
    return float(picture.depth[at]), picture.scene.surfaces[picture.surface[at]]


def read_whole(tower: Tower, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Returns the features of all cells under each dense readout, (M * h * w, D) each, and of the images, (M, D)."""
    trunk = tower.trunk(images)
    maps = [readout.dense(tower, trunk) for readout in (AttentionPool(), MaskCLIP())]
    return [dense.permute(0, 2, 3, 1).flatten(0, 2) for dense in maps], tower.pool(trunk)


def contrastive_loss(image: Tensor, text: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss with shares instead of indices: every caption that is true of a point counts as its own, and back."""
    logits = similarity(image, text, scale)
    return (F.cross_entropy(logits, shares(truth)) + F.cross_entropy(logits.T, shares(truth.T))) / 2


def shares(truth: Tensor) -> Tensor:
    """Rows that sum to 1; a point of which no caption is true stays at 0, and does not count."""
    return truth / truth.sum(1, keepdim=True).clamp_min(1e-6)


def similarity(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """CLIP's logits, (N, C)."""
    return scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T


class Pretraining:
    """The model, its optimiser and the number of steps done; what a checkpoint holds."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        open_clip.add_model_config(CONFIG)
        self.recipe, self.done, self.seconds = recipe, 0, 0.0
        self.model = open_clip.create_model("tiny-rooms")
        self.tower = tower_of(self.model.visual)  # shares the model's parameters
        self.norms = [module for module in self.model.modules() if isinstance(module, nn.BatchNorm2d)]
        named = dict(self.model.named_parameters())
        # Most rows of the token table belong to words that no caption holds: decay would only cost time there.
        decayed = [value for name, value in named.items() if value.ndim > 1 and "embedding" not in name]
        others = [value for name, value in named.items() if value.ndim <= 1 or "embedding" in name]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)

    def step(self, batch: Batch) -> float:
        """Does the next step on its batch and returns its loss."""
        began = time.monotonic()
        rate = self.recipe.learning_rate * schedule(self.done, self.recipe.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        if self.done >= SETTLED * self.recipe.steps:
            for norm in self.norms:
                norm.eval()
        (dense, pooled), scale = read_whole(self.tower, batch.images), self.model.logit_scale.exp()
        crops = [self.model.encode_image(batch.crops)] if len(batch.crops) else []
        points = torch.cat(crops + dense)
        # the cells' rows of the truth stand for them under either readout
        rows = torch.cat([torch.arange(len(batch.truth)), torch.arange(len(batch.crops), len(batch.truth))])
        loss = contrastive_loss(points, self.model.encode_text(batch.tokens), batch.truth[rows], scale)
        wordings = similarity(points, self.model.encode_text(batch.wordings), scale)
        loss = loss + F.cross_entropy(wordings, shares(batch.metres[rows]))
        scenes = similarity(pooled, self.model.encode_text(batch.scene_tokens), scale)
        loss = loss + SCENE_WEIGHT * F.cross_entropy(scenes, batch.scenes)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        self.done += 1
        self.seconds += time.monotonic() - began
        return loss.item()

    @torch.no_grad()
    def settle(self, pictures: Sequence[Picture]) -> None:
        """Sets the normalisation to what whole images give; from here on it stays, and the network is trained as used.

        Until then crops and whole images, whose statistics differ, each had their own.
        """
        self.model.train()
        for norm in self.norms:
            norm.reset_running_stats()
            norm.momentum = None  # the average of all that follow
        for start in range(0, len(pictures), 8):
            self.tower.trunk(to_view(pictures[start : start + 8]))

    def save(self, path: Path) -> None:
        """Writes all that resuming needs."""
        state = {"done": self.done, "seconds": self.seconds, "recipe": self.recipe._asdict()}
        torch.save(state | {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, path)

    def load(self, path: Path) -> None:
        """Takes up a run where its checkpoint left it.

        Raises:
            ValueError: if the checkpoint was written with another recipe.
        """
        state = torch.load(path, weights_only=True)
        if state["recipe"] != self.recipe._asdict():
            raise ValueError(f"{path} was written with {state['recipe']}; resume with the same arguments or start anew")
        self.done, self.seconds = state["done"], state["seconds"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def schedule(done: int, steps: int) -> float:
    """Returns the share of the learning rate after `done` of `steps` steps: a rise, a plateau, and a fall from 60 %."""
    return min((done + 1) / 30, (1 - done / steps) / 0.4, 1.0)


def write_weights(model: open_clip.CLIP, path: Path) -> None:
    """Writes the weights in half precision."""
    save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, path)


def pretrain(recipe: Recipe, out: Path, resume: bool, save_every: int = 100) -> tuple[Pretraining, list[float]]:
    """Trains the model, writes `tiny-rooms.safetensors` into `out`, and returns the losses of the steps done now."""
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "pretraining.pt"
    training = Pretraining(recipe)
    if resume and checkpoint.exists():
        training.load(checkpoint)
    losses: list[float] = []
    pictures = []
    if training.done < recipe.steps:
        print(f"drawing {recipe.rooms} rooms", flush=True)
        pictures = draw_rooms("train", recipe.rooms, recipe.seed)
    columns = TextColumn("loss {task.fields[loss]:.3f}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("", total=recipe.steps, completed=training.done, loss=float("nan"))
        for batch in stream(pictures, recipe, training.done):
            if training.done == math.ceil(SETTLED * recipe.steps):
                training.settle(pictures[:200])
            losses.append(training.step(batch))
            progress.update(bar, completed=training.done, loss=sum(losses[-50:]) / len(losses[-50:]))
            if training.done % save_every == 0:
                training.save(checkpoint)
    write_weights(training.model, out / "tiny-rooms.safetensors")
    return training, losses


CARD = """# tiny-rooms

A CLIP of {parameters:.1f} million parameters (ModifiedResNet {layers} of width {width}, text transformer of width
{text_width} with {text_layers} layers, embeddings of {embed_dim}, the tokenizer of OpenAI's CLIP) that was trained from
scratch on procedural rooms. It shows how language-driven depth works, in a minute and without a download.

**What it is not.** Its captions were written from the generator's own depth: it is language-supervised and in-domain.
It shows the mechanism, not the claim of DepthCLIP (arXiv 2207.01077) that a CLIP which never saw depth knows of it. It
knows nothing of photographs, and no words but those of its captions.

## Training

`python -m experiments.pretrain_rooms --steps {steps} --seed {seed} --rooms {rooms}`: {steps} steps in {minutes:.0f}
minutes on {cores} CPU cores. A step has {dense} whole images, the cells of which are read as queries of the attention
pool and as MaskCLIP does, with {captions} captions an image; every {crop_every} steps also {crops} crops of
{patch} x {patch} pixels. AdamW, learning rate {learning_rate:g}. Rooms of 120 x 160 pixels are seen at {height} x
{view_width}; at another size textures have another scale, and depth is wrong by it. RGB is normalised as for OpenAI's
CLIP. Training, validation and test rooms share no seed.

Distances in the captions are {distances} wordings and numbers of metres from 0.5 to 9. What the wordings mean, in
metres: {meanings}.

**Held out.** No training caption is built on these sentences: {held_templates}. None holds these combinations of known
words: {held_words}.

## Figures

Chosen on {val_rooms} validation rooms (`python -m experiments.choose_rooms`), with the bins at what the words mean:

{choices}

On {test_rooms} test rooms (errors of each image, then the mean; the best constants are found for each error on these
very rooms):

{figures}

{ranks}
"""
VAL_ROOMS, TEST_ROOMS = 100, 200


def write_card(training: Pretraining, figures: Report, path: Path) -> None:
    """Writes the model card."""
    recipe = training.recipe
    config = json.loads(CONFIG.read_text())
    columns = ("abs_rel", "rmse", "log10", "delta1", "delta2", "delta3")
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, errors in figures.test.items():
        lines.append(f"| {name} | " + " | ".join(f"{errors[column]:.3f}" for column in columns) + " |")
    card = CARD.format(
        parameters=sum(value.numel() for value in training.model.parameters()) / 1e6,
        layers="-".join(map(str, config["vision_cfg"]["layers"])),
        width=config["vision_cfg"]["width"],
        text_width=config["text_cfg"]["width"],
        text_layers=config["text_cfg"]["layers"],
        embed_dim=config["embed_dim"],
        steps=recipe.steps,
        seed=recipe.seed,
        rooms=recipe.rooms,
        minutes=training.seconds / 60,
        cores=cores(),
        crops=recipe.crop_images * recipe.crops,
        dense=recipe.dense_images,
        crop_every=recipe.crop_every,
        patch=PATCH,
        captions=recipe.captions,
        learning_rate=recipe.learning_rate,
        height=HEIGHT,
        view_width=WIDTH,
        distances=len(DISTANCES),
        meanings=", ".join(f"{words} {depth:g}" for words, depth in DISTANCES.items()),
        held_templates=", ".join(f'"{template}"' for template in HELD_OUT_TEMPLATES),
        held_words=", ".join(f'"{words}" ({depth:g} m)' for words, depth in HELD_OUT_DISTANCES.items()),
        val_rooms=VAL_ROOMS,
        test_rooms=TEST_ROOMS,
        choices="\n".join(f"- {name_of(choice)}" for choice in figures.choices.values()),
        figures="\n".join(lines),
        ranks="\n".join(
            f"Under `{readout}` the true order of the words against the bins ranks {rank} among 1000 random orders."
            for readout, rank in figures.ranks.items()
        ),
    )
    path.write_text(card)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    default = Recipe()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=default.steps, help="optimiser steps")
    parser.add_argument("--seed", type=int, default=default.seed, help="of the weights, the rooms and the batches")
    parser.add_argument("--rooms", type=int, default=default.rooms, help="training rooms")
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain_rooms"), help="where weights and card go")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in that folder")
    given = parser.parse_args(args)
    training, _ = pretrain(Recipe(steps=given.steps, seed=given.seed, rooms=given.rooms), given.out, given.resume)
    figures = report(str(given.out / "tiny-rooms.safetensors"), VAL_ROOMS, TEST_ROOMS, given.seed)
    write_card(training, figures, given.out / "MODEL_CARD.md")
    print(f"weights and card are in {given.out}; copy both to {CONFIG.parent} to ship them")


if __name__ == "__main__":
    main()
