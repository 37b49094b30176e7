"""Trains the small CLIP that ships with the package, from scratch, on two CPU cores.

`python -m experiments.pretrain_rooms` contrasts points of procedural rooms with captions written from the generator's
own knowledge: how far the point is, in many wordings, and the colour, texture and shape of what is there. Some of the
points are centres of crops that the tower encodes as images of their own; the others are cells of whole images, read
both as queries of the attention pool and as MaskCLIP does (its value and output projection only), so that all three
readouts share one space with the sentences. As several captions of a batch may be true of one point, the targets are
shares of the true captions instead of one index each.
"""

import argparse
import json
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

from depthclip.data.base import Split
from depthclip.data.raycast import Picture, Surface
from depthclip.data.rooms import HEIGHT, WIDTH, room
from depthclip.encoder.readouts import AttentionPool, MaskCLIP
from depthclip.encoder.towers import Tower, tower_of
from experiments.choose_rooms import Report, name_of, report
from experiments.room_captions import DISTANCES, HELD_OUT_DISTANCES, HELD_OUT_TEMPLATES, CaptionWriter, agreement

CONFIG = Path(__file__).parents[1] / "depthclip" / "encoder" / "bundled" / "tiny-rooms.json"
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
        learning_rate: at its height.
    """

    steps: int = 2000
    seed: int = 0
    rooms: int = 3000
    crop_images: int = 6
    crops: int = 2
    dense_images: int = 5
    cells: int = 48
    learning_rate: float = 3e-3


class Batch(NamedTuple):
    """One step's points: crops (N, 3, 64, 64), whole images (M, 3, H, W), which cells of them to read, and captions.

    `cells` (P,) are flat indices into the (M, h, w) grid; the rows of `tokens` (N + P, L) and `truth` (N + P, N + P)
    are the crops, then the cells.
    """

    crops: Tensor
    images: Tensor
    cells: Tensor
    tokens: Tensor
    truth: Tensor


def draw_rooms(split: Split, count: int, seed: int) -> list[Picture]:
    """Draws the first rooms of a split, on all cores."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(partial(draw, split, seed), range(count), chunksize=16))


def draw(split: Split, seed: int, index: int) -> Picture:
    """Draws one room (a function of its own so that processes can share the work)."""
    return room(split, index, seed)


def to_view(pictures: Sequence[Picture]) -> Tensor:
    """Returns pictures as the tower sees them, (B, 3, HEIGHT, WIDTH), normalised as OpenAI's CLIP wants it."""
    rgb = torch.from_numpy(np.stack([picture.rgb for picture in pictures])).permute(0, 3, 1, 2).float() / 255
    rgb = F.interpolate(rgb, size=(HEIGHT, WIDTH), mode="bilinear")
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    return (rgb - mean[:, None, None]) / std[:, None, None]


class Batches:
    """Draws the batch of any step from the seed and the step's number alone, so that resuming changes nothing."""

    def __init__(self, pictures: Sequence[Picture], recipe: Recipe) -> None:
        open_clip.add_model_config(CONFIG)
        self.pictures, self.recipe = pictures, recipe
        self.tokenizer, self.writer = open_clip.get_tokenizer("tiny-rooms"), CaptionWriter()

    def __call__(self, step: int) -> Batch:
        """Draws the batch of a step."""
        rng = np.random.default_rng([self.recipe.seed, step])
        recipe, margin = self.recipe, PATCH // 2
        chosen = rng.choice(len(self.pictures), recipe.crop_images + recipe.dense_images, replace=False)
        pictures = [self.pictures[index] for index in chosen]
        views = to_view(pictures)
        padded = F.pad(views[: recipe.crop_images], (margin,) * 4, mode="replicate")

        crops, points = [], []
        for number in range(recipe.crop_images):
            for _ in range(recipe.crops):
                row, column = int(rng.integers(HEIGHT)), int(rng.integers(WIDTH))
                crops.append(padded[number, :, row : row + PATCH, column : column + PATCH])
                points.append((pictures[number], row, column))
        h, w = HEIGHT // STRIDE, WIDTH // STRIDE
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
    at = row * height // HEIGHT, column * width // WIDTH
    return float(picture.depth[at]), picture.scene.surfaces[picture.surface[at]]


def read_cells(tower: Tower, images: Tensor, cells: Tensor) -> list[Tensor]:
    """Returns the features of P cells under each dense readout, (P, D) each."""
    trunk = tower.trunk(images)
    maps = [readout.dense(tower, trunk) for readout in (AttentionPool(), MaskCLIP())]
    return [dense.permute(0, 2, 3, 1).flatten(0, 2)[cells] for dense in maps]


def contrastive_loss(image: Tensor, text: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss with shares instead of indices: every caption that is true of a point counts as its own, and back."""
    logits = scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    by_point = F.cross_entropy(logits, truth / truth.sum(1, keepdim=True))
    by_caption = F.cross_entropy(logits.T, truth.T / truth.T.sum(1, keepdim=True))
    return (by_point + by_caption) / 2


class Pretraining:
    """The model, its optimiser and the number of steps done; what a checkpoint holds."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        open_clip.add_model_config(CONFIG)
        self.recipe, self.done, self.seconds = recipe, 0, 0.0
        self.lengths = {0: recipe.steps}  # from which step on the schedule was that of so many steps
        self.model = open_clip.create_model("tiny-rooms")
        self.tower = tower_of(self.model.visual)  # shares the model's parameters
        named = dict(self.model.named_parameters())
        # Most rows of the token table belong to words that no caption holds: decay would only cost time there.
        decayed = [value for name, value in named.items() if value.ndim > 1 and "embedding" not in name]
        others = [value for name, value in named.items() if value.ndim <= 1 or "embedding" in name]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)

    def step(self, batches: Batches) -> float:
        """Does the next step and returns its loss."""
        began = time.monotonic()
        rate = self.recipe.learning_rate * schedule(self.done, self.recipe.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = batches(self.done)
        self.model.train()
        crops, cells = self.model.encode_image(batch.crops), read_cells(self.tower, batch.images, batch.cells)
        text = self.model.encode_text(batch.tokens)
        # the cells' rows of the truth stand for them under either readout
        truth = torch.cat([batch.truth, batch.truth[len(crops) :]])
        loss = contrastive_loss(torch.cat([crops, *cells]), text, truth, self.model.logit_scale.exp())
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        self.done += 1
        self.seconds += time.monotonic() - began
        return loss.item()

    def save(self, path: Path) -> None:
        """Writes all that resuming needs."""
        state = {"done": self.done, "seconds": self.seconds, "lengths": self.lengths, "recipe": self.recipe._asdict()}
        torch.save(state | {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, path)

    def load(self, path: Path) -> None:
        """Takes up a run where its checkpoint left it; it may be made longer or shorter, and the card will say so.

        Raises:
            ValueError: if the checkpoint was written with another recipe, but for its length.
        """
        state = torch.load(path, weights_only=True)
        if state["recipe"] | {"steps": self.recipe.steps} != self.recipe._asdict():
            raise ValueError(f"{path} was written with {state['recipe']}; resume with the same arguments or start anew")
        self.done, self.seconds = state["done"], state["seconds"]
        self.lengths = state["lengths"]
        begun, planned = list(self.lengths.items())[-1]
        same_until_now = self.done <= 0.6 * min(self.recipe.steps, planned)
        if self.recipe.steps != planned:
            self.lengths[begun if same_until_now else self.done] = self.recipe.steps
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def schedule(done: int, steps: int) -> float:
    """Returns the share of the learning rate after `done` of `steps` steps: a rise, a plateau, and from 60 % on a fall.

    Up to the fall it does not depend on the length, so that a run can be resumed with another one.
    """
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
    if training.done < recipe.steps:
        print(f"drawing {recipe.rooms} rooms", flush=True)
        batches = Batches(draw_rooms("train", recipe.rooms, recipe.seed), recipe)
    columns = TextColumn("loss {task.fields[loss]:.3f}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("", total=recipe.steps, completed=training.done, loss=float("nan"))
        while training.done < recipe.steps:
            losses.append(training.step(batches))
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
minutes on {cores} CPU cores, {points} points a step ({crops} crops of 64 x 64 pixels, {cells} cells of whole images,
read as queries of the attention pool and as MaskCLIP does), AdamW, learning rate {learning_rate:g}. Rooms of 120 x 160
pixels are seen at {height} x {view_width}; at another size textures have another scale, and depth is wrong by it. RGB
is normalised as for OpenAI's CLIP. Training, validation and test rooms share no seed.{lengths}

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
        lengths="".join(
            f" From step {start} on, resumed, the learning rate followed the schedule of {steps} steps."
            for start, steps in list(training.lengths.items())[1:]
        ),
        cores=os.cpu_count(),
        points=recipe.crop_images * recipe.crops + recipe.dense_images * recipe.cells,
        crops=recipe.crop_images * recipe.crops,
        cells=recipe.dense_images * recipe.cells,
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
