"""Train the small CLIP that ships with the package on two CPU cores.

`python -m experiments.tiny_rooms.pretrain` contrasts points of procedural rooms with captions that are written from the
geometry of the room: the distance of the point, in many wordings, and the colour, texture and shape of its surface.
Some points are centres of crops that the tower encodes as images. The others are cells of whole images, read both as
queries of the attention pool and as in MaskCLIP (value and output projection only), so that all three readouts share
the space of the sentences. Several captions of a batch may be true of a point, so the targets are shares of the true
captions instead of indices. In addition, every point is contrasted with a sentence for each wording of a distance, and
the pooled feature of every whole image with a sentence for each type of scene.

With several `--fov`, the rooms are seen through several lenses, and their images are resized to one focal length, so
that a pixel covers the same angle in each. A wide lens then leads to a large image and a long lens to a small one.
"""

import argparse
import math
import pickle
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import open_clip
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.atomic import open_atomic
from depthclip.camera import check_focal
from depthclip.checks import check_count, check_number
from depthclip.data.raycast import Picture
from depthclip.data.rooms import fov_of
from depthclip.encoder.loading import check_clip, load_clip
from depthclip.encoder.readouts import AttentionPool, MaskCLIP
from depthclip.encoder.towers import Tower, tower_of
from depthclip.errors import InputError
from depthclip.signals import exit_code
from experiments.tiny_rooms.batches import (
    CONFIG,
    CaptionBatch,
    Recipe,
    draw_rooms,
    least_rooms,
    size_at,
    stream,
    to_view,
)
from experiments.tiny_rooms.card import TEST_ROOMS, VAL_ROOMS, write_card
from experiments.tiny_rooms.choose import search

FROZEN_FROM = 0.8  # share of the steps after which the statistics of the normalization are frozen
SCENE_WEIGHT = 0.2


def read_whole(tower: Tower, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the features of all cells under each dense readout, (M * h * w, D) each, and of the images, (M, D)."""
    trunk = tower.trunk(images)
    maps = [readout.dense(tower, trunk) for readout in (AttentionPool(), MaskCLIP())]
    return [dense.permute(0, 2, 3, 1).flatten(0, 2) for dense in maps], tower.pool(trunk)


def contrastive_loss(image: Tensor, text: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """Return CLIP's contrastive loss with several true captions per point.

    Args:
        image: (N, D) features of points.
        text: (C, D) features of captions.
        truth: (N, C) how true each caption is of each point, in [0, 1].
        scale: () scale of the logits.
    """
    logits = similarity(image, text, scale)
    return (F.cross_entropy(logits, target_shares(truth)) + F.cross_entropy(logits.T, target_shares(truth.T))) / 2


def target_shares(truth: Tensor) -> Tensor:
    """Normalize rows to sum 1; the row of a point without a true caption stays 0, so that it has no loss."""
    return truth / truth.sum(1, keepdim=True).clamp_min(1e-6)


def similarity(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Return CLIP's logits, (N, C)."""
    return scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T


class Pretraining:
    """The model, its optimizer and the number of steps done, as in a checkpoint."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        open_clip.add_model_config(CONFIG)
        self.recipe, self.done, self.seconds = recipe, 0, 0.0
        self.model = open_clip.create_model("tiny-rooms")
        if recipe.start:
            self.model.load_state_dict(load_clip("tiny-rooms", recipe.start, "openai").model.state_dict())
        self.tower = tower_of(self.model.visual)  # shares the model's parameters
        self.norms = [module for module in self.model.modules() if isinstance(module, nn.BatchNorm2d)]
        # weights that the training starts from have their statistics of the normalization already
        self.frozen_from = 0 if recipe.start else math.ceil(FROZEN_FROM * recipe.steps)
        named = dict(self.model.named_parameters())
        # most rows of the token table belong to words of no caption, where decay would only take time
        decayed = [value for name, value in named.items() if value.ndim > 1 and "embedding" not in name]
        others = [value for name, value in named.items() if value.ndim <= 1 or "embedding" in name]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)

    def step(self, batch: CaptionBatch) -> float:
        """Train on the next batch and return the loss."""
        began = time.monotonic()
        rate = self.recipe.learning_rate * schedule(self.done, self.recipe.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        if self.done >= self.frozen_from:
            for norm in self.norms:
                norm.eval()
        (dense, pooled), scale = read_whole(self.tower, batch.images), self.model.logit_scale.exp()
        crops = [self.model.encode_image(batch.crops)] if len(batch.crops) else []
        points = torch.cat(crops + dense)
        # both readouts of the cells have the same rows of the truth
        rows = torch.cat([torch.arange(len(batch.truth)), torch.arange(len(batch.crops), len(batch.truth))])
        loss = contrastive_loss(points, self.model.encode_text(batch.tokens), batch.truth[rows], scale)
        wordings = similarity(points, self.model.encode_text(batch.wordings), scale)
        loss = loss + F.cross_entropy(wordings, target_shares(batch.metres[rows]))
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
    def freeze_statistics(self, pictures: Sequence[Picture]) -> None:
        """Set the statistics of the normalization to those of whole images, as at test time.

        The later steps use these statistics; the earlier steps use those of each batch.

        Args:
            pictures: the first training rooms.
        """
        self.model.train()
        for norm in self.norms:
            norm.reset_running_stats()
            norm.momentum = None  # averages the statistics of the batches
        for number, fov in enumerate(self.recipe.fov):
            through, size = pictures[number :: len(self.recipe.fov)], size_at(fov, self.recipe.focal)
            for start in range(0, len(through), 8):
                self.tower.trunk(to_view(through[start : start + 8], size))

    def save(self, path: Path) -> None:
        """Write a checkpoint; the previous checkpoint stays until the new file is complete."""
        state = {"done": self.done, "seconds": self.seconds, "recipe": self.recipe._asdict()}
        with open_atomic(path) as file:
            torch.save(state | {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, file)

    def load(self, path: Path) -> None:
        """Restore a checkpoint.

        Raises:
            InputError: if the checkpoint is broken, or was written with another recipe.
        """
        try:
            state = torch.load(path, weights_only=True)
            recipe = state["recipe"]
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{path} is not a checkpoint of this script; remove it, or start without --resume"
            ) from error
        if recipe != self.recipe._asdict():
            raise InputError(f"{path} was written with {recipe}; use the same arguments, or start without --resume")
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.done, self.seconds = int(state["done"]), float(state["seconds"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise InputError(f"{path} does not fit the model; remove it, or start without --resume") from error


def schedule(done: int, steps: int) -> float:
    """Return the factor of the learning rate after `done` of `steps` steps; it rises, stays at 1, then falls."""
    return min((done + 1) / 30, (1 - done / steps) / 0.4, 1.0)


def write_weights(model: open_clip.CLIP, path: Path) -> None:
    """Write the weights in half precision."""
    with open_atomic(path) as file:
        file.write(save({name: value.half().contiguous() for name, value in model.state_dict().items()}))


def pretrain(recipe: Recipe, out: Path, resume: bool, save_every: int = 100) -> tuple[Pretraining, list[float]]:
    """Train the model and write `tiny-rooms.safetensors`; return the training and the losses of the steps of this call.

    Args:
        recipe: recipe of the weights.
        out: folder of the weights and the checkpoint.
        resume: continue from the checkpoint in that folder, if there is one.
        save_every: number of steps between checkpoints.

    Raises:
        InputError: if the checkpoint to resume from is broken, or was written with another recipe.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "pretraining.pt"
    training = Pretraining(recipe)
    if resume and checkpoint.exists():
        training.load(checkpoint)
    losses: list[float] = []
    pictures = []
    if training.done < recipe.steps:
        print(f"drawing {recipe.rooms} rooms", flush=True)
        pictures = draw_rooms("train", recipe.rooms, recipe.seed, recipe.fov)
    columns = TextColumn("loss {task.fields[loss]:.3f}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("", total=recipe.steps, completed=training.done, loss=float("nan"))
        for batch in stream(pictures, recipe, training.done):
            if 0 < training.done == training.frozen_from:
                training.freeze_statistics(pictures[:200])
            losses.append(training.step(batch))
            progress.update(bar, completed=training.done, loss=sum(losses[-50:]) / len(losses[-50:]))
            if training.done % save_every == 0:
                training.save(checkpoint)
    write_weights(training.model, out / "tiny-rooms.safetensors")
    return training, losses


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 2 for bad input, 143 after SIGTERM."""
    default = Recipe()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=default.steps, help="number of optimizer steps")
    parser.add_argument("--seed", type=int, default=default.seed, help="seed of the weights, the rooms and the batches")
    parser.add_argument("--rooms", type=int, default=default.rooms, help="number of training rooms")
    parser.add_argument("--learning_rate", type=float, default=default.learning_rate, help="largest learning rate")
    parser.add_argument("--fov", type=float, nargs="+", default=default.fov, help="fields of view, in degrees")
    parser.add_argument("--focal", type=float, default=default.focal, help="focal length of all images, in pixels")
    parser.add_argument("--start", default="", help="first weights: `bundled`, or a weights file; random by default")
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain_rooms"), help="folder of the weights and card")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in that folder")
    given = parser.parse_args(args)

    def work() -> int:
        check_count("--steps", given.steps)
        check_count("--rooms", given.rooms)
        check_count("--seed", given.seed, at_least=0)
        check_number("--learning_rate", given.learning_rate, above=0, at_most=1)
        check_focal("--focal", given.focal)
        for fov in given.fov:
            fov_of(fov)
        if given.start:
            check_clip("tiny-rooms", given.start, "openai")
        recipe = Recipe(given.steps, given.seed, given.rooms, learning_rate=given.learning_rate, start=given.start)
        recipe = recipe._replace(fov=tuple(given.fov), focal=given.focal)
        check_count("--rooms", given.rooms, at_least=least_rooms(recipe), hint="a step needs as many")
        make(recipe, given.out, given.resume)
        return 0

    return exit_code(work, "use --resume to continue from the last checkpoint")


def make(recipe: Recipe, out: Path, resume: bool) -> None:
    """Train the model, and write its weights and its card into a folder."""
    training, _ = pretrain(recipe, out, resume)
    figures = search(str(out / "tiny-rooms.safetensors"), VAL_ROOMS, TEST_ROOMS, recipe.seed, focal=recipe.focal)
    parameters = sum(value.numel() for value in training.model.parameters())
    write_card(training.recipe, parameters, training.seconds, figures, out / "MODEL_CARD.md")
    print(f"weights and card are in {out}; copy both to {CONFIG.parent} to ship them")


if __name__ == "__main__":
    sys.exit(main())
