"""Chooses the recipe of the rooms on validation rooms only: `python -m experiments.choose_rooms` prints the candidates.

Every readout, word set, template set and temperature is scored on the validation rooms; the bins are what the words mean in
the rooms' captions. With --test the best of each readout, sentences that never occurred in a caption, and the words in
random order are scored on test rooms.
"""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from depthclip.data.raycast import Picture
from depthclip.encoder import FrozenCLIP, ImageFeatures
from depthclip.evaluation.baselines import BestConstant, fit_baselines
from depthclip.evaluation.metrics import ERRORS, DepthErrors
from depthclip.evaluation.protocol import View
from depthclip.head import Bins, DepthHead, Prompts
from depthclip.head.prompts import WORDS
from experiments.pretrain_rooms import BUNDLED, PATCH, STRIDE, VIEW, draw_rooms
from experiments.room_captions import DISTANCES, HELD_OUT_DISTANCES, HELD_OUT_TEMPLATES, TEMPLATES

WORD_SETS = WORDS | {
    "rooms": (
        "giant",
        "extremely close",
        "very close",
        "close",
        "a little close",
        "not in distance",
        "medium",
        "a little remote",
        "a little far",
        "far",
        "quite far",
        "very far",
        "unseen",
    ),
    "near to distant": ("near", "a little near", "a little distant", "distant", "very distant", "extremely distant"),
}
TEMPLATE_SETS: dict[str, tuple[str, ...]] = {
    "the paper's": TEMPLATES[:1],
    "trained": tuple(template for template in TEMPLATES if "{object}" not in template),
}
TEMPERATURES = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0)
SIZE = View(size=VIEW)


class Choice(NamedTuple):
    """A candidate: names of the readout, the words and the templates, and the temperature."""

    readout: str
    words: str
    templates: str
    temperature: float


def metres_of(words: Sequence[str]) -> list[float]:
    """Returns what the words mean in the captions, nudged to ascend where two mean the same."""
    known = DISTANCES | HELD_OUT_DISTANCES
    return [known[word] * (1 + 1e-4 * place) for place, word in enumerate(words)]


def head_of(words: Sequence[str], templates: Sequence[str], temperature: float) -> DepthHead:
    """Returns the head that reads these sentences with the captions' own metres as bins."""
    return DepthHead(Prompts(words, templates), Bins(metres_of(words)), temperature)


def encode(encoder: FrozenCLIP, pictures: Sequence[Picture], batch: int = 10) -> Tensor:
    """Returns the dense features of rooms, (N, D, h, w)."""
    features = []
    for start in range(0, len(pictures), batch):
        rgb = torch.stack([torch.from_numpy(p.rgb).permute(2, 0, 1) for p in pictures[start : start + batch]])
        with torch.no_grad():
            features.append(encoder.encode_image(SIZE.see(rgb).float() / 255).dense)
    return torch.cat(features)


def score(depth: Tensor, pictures: Sequence[Picture]) -> dict[str, float]:
    """Returns the errors of coarse depth (N, 1, h, w), upsampled to the rooms."""
    errors = DepthErrors(["depth"])
    everywhere = torch.ones(pictures[0].depth.shape, dtype=torch.bool)
    full = SIZE.upsample(depth, everywhere.shape)
    for index, picture in enumerate(pictures):
        errors.update(full[index], torch.from_numpy(picture.depth), everywhere, index)
    return errors.compute().figures()["depth"]


def baselines(pictures: Sequence[Picture], train: Sequence[Picture]) -> dict[str, dict[str, float]]:
    """Returns the errors of the best constants and of the training rooms' median map."""
    constant = BestConstant(10.0)
    for picture in pictures:
        constant.update(torch.from_numpy(picture.depth).flatten())
    fitted = fit_baselines(torch.from_numpy(picture.depth) for picture in train)
    size = pictures[0].depth.shape
    median = fitted.at((size[0], size[1]))[1].expand(len(pictures), 1, -1, -1)
    return {"best constants": constant.compute(), "median map": score(median, pictures)}


def encoders(weights: str) -> dict[str, FrozenCLIP]:
    """Returns the tiny CLIP under each readout that is worth a candidate."""
    return {name: FrozenCLIP("tiny-rooms", weights, name, "openai") for name in ("maskclip", "attention_pool")}


def candidates(readouts: Sequence[str]) -> list[Choice]:
    """Returns all candidates."""
    return [Choice(*each) for each in itertools.product(readouts, WORD_SETS, TEMPLATE_SETS, TEMPERATURES)]


def table(title: str, rows: dict[str, dict[str, float]]) -> None:
    """Prints errors by name."""
    shown = Table("", *ERRORS, title=title)
    for name, errors in rows.items():
        shown.add_row(name, *(f"{errors[error]:.3f}" for error in ERRORS))
    Console(width=140).print(shown)
