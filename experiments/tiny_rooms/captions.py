"""Write captions about points of a room: the name of the surface, and its distance in many wordings."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from depthclip.data.raycast import Surface

# meanings of the wordings in metres; the paper's four sets and the set `five` come first
DISTANCES: dict[str, float] = {
    "giant": 0.85,
    "extremely close": 1.05,
    "very close": 1.25,
    "close": 1.55,
    "a little close": 1.9,
    "not in distance": 2.2,
    "middle": 2.5,
    "medium": 2.5,
    "a little remote": 3.0,
    "a bit remote": 3.1,
    "a little far": 3.5,
    "far": 4.5,
    "quite far": 5.4,
    "very far": 6.5,
    "unseen": 8.0,
    "a bit close": 1.9,
    "quite near": 1.4,
    "near": 1.6,
    "a little near": 2.0,
    "a bit far": 3.4,
    "remote": 4.2,
    "quite remote": 5.2,
    "extremely remote": 7.5,
    "a little distant": 3.4,
    "distant": 4.6,
    "very distant": 6.6,
    "extremely distant": 7.8,
    "within reach": 0.8,
    "right here": 0.75,
    "nearby": 1.7,
    "not far": 2.0,
    "not close": 3.0,
    "across the room": 4.0,
    "far away": 5.2,
    "at the far end": 7.0,
}
# combinations of known words that occur in no training caption
HELD_OUT_DISTANCES: dict[str, float] = {
    "extremely near": 1.05,
    "very near": 1.25,
    "quite close": 1.4,
    "a bit near": 2.0,
    "a bit distant": 3.4,
    "quite distant": 5.4,
    "very remote": 6.3,
    "extremely far": 7.8,
}
WHOLES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPREAD = 0.15  # standard deviation of the logarithm of the depth for which a wording is used

TEMPLATES = (
    "This object is {distance}",
    "This {object} is {distance}",
    "The {object} is {distance}",
    "The {object} seems {distance}",
    "This item is {distance}",
    "This thing looks {distance}",
    "That {object} looks {distance}",
    "This {object} appears to be {distance}",
    "A photo of a {object} that is {distance}",
    "A photo of something {distance}",
    "There is a {object} here and it is {distance}",
    "It is {distance}",
    "I see a {object}, {distance}",
    "{distance}",
)
# templates of no training caption; each of their words occurs in some caption
HELD_OUT_TEMPLATES = (
    "This item seems {distance}",
    "That thing is {distance}",
    "There is something {distance} here",
    "I see that it is {distance}",
)
PLAIN_TEMPLATES = (
    "This is a {object}",
    "A photo of a {object}",
    "There is a {object} here",
    "I see a {object}",
    "{object}",
)
SCENE_TEMPLATES = (
    "This is a {scene}",
    "A photo of a {scene}",
    "A photo of a {scene}.",
    "There is a {scene} here",
    "I see a {scene}",
    "{scene}",
)


class Caption(NamedTuple):
    """A sentence and the values that it names.

    Args:
        text: the sentence.
        metres: distance in metres, NaN for a caption without distance.
        shape: shape of the surface, "" for none.
        colour: colour of the surface, "" for none.
        texture: texture of the surface, "" for none.
    """

    text: str
    metres: float
    shape: str
    colour: str
    texture: str


def number_wordings() -> dict[str, float]:
    """Return wordings with numbers for every half metre from 0.5 to 9, with their distances in metres."""
    wordings = {"half a metre away": 0.5, "about half a metre away": 0.5}
    for halves in range(2, 19):
        whole, half = divmod(halves, 2)
        digits = f"{whole}.5" if half else str(whole)
        words = f"{WHOLES[whole]} and a half" if half else WHOLES[whole]
        unit = "metre" if halves == 2 else "metres"
        for number in (digits, words):
            wordings[f"about {number} {unit} away"] = halves / 2
            wordings[f"{number} {unit} away"] = halves / 2
    return wordings


def with_article(text: str) -> str:
    """Return the sentence with "an" before the nouns that start with a vowel."""
    return re.sub(r"\b([Aa]) (?=object|orange)", r"\1n ", text)


class CaptionWriter:
    """Write captions; the probability of a wording is proportional to its fit to the depth."""

    def __init__(self) -> None:
        numbers = number_wordings()
        self.wordings = (list(DISTANCES), list(numbers))
        self.log_metres = (np.log(list(DISTANCES.values())), np.log(list(numbers.values())))

    def write(self, rng: np.random.Generator, depth: float, surface: Surface) -> Caption:
        """Write a caption about a point.

        Args:
            rng: source of random numbers.
            depth: depth of the point in metres.
            surface: surface of the point.
        """
        shape = surface.shape if rng.random() < 0.7 else ""
        colour = surface.colour if rng.random() < 0.4 else ""
        texture = surface.texture if rng.random() < 0.3 else ""
        noun = " ".join(filter(None, (colour, texture, shape or "object")))
        if rng.random() < 0.15:
            template = PLAIN_TEMPLATES[rng.integers(len(PLAIN_TEMPLATES))]
            return Caption(with_article(template.format(object=noun)), float("nan"), shape, colour, texture)
        kind = int(rng.random() < 0.2)
        fit = np.exp(-((np.log(depth) - self.log_metres[kind]) ** 2) / (2 * SPREAD**2))
        chosen = int(rng.choice(len(fit), p=fit / fit.sum()))
        template = TEMPLATES[rng.integers(len(TEMPLATES))] if rng.random() < 0.7 else TEMPLATES[0]
        text = with_article(template.format(object=noun, distance=self.wordings[kind][chosen]))
        if "{object}" not in template:
            shape = colour = texture = ""
        return Caption(text, float(np.exp(self.log_metres[kind][chosen])), shape, colour, texture)

    def every_wording(self, rng: np.random.Generator) -> list[Caption]:
        """Write a caption for each wording of a distance, all with the same template and object."""
        template = TEMPLATES[rng.integers(len(TEMPLATES))] if rng.random() < 0.7 else TEMPLATES[0]
        return [
            Caption(with_article(template.format(object="object", distance=words)), float(np.exp(log)), "", "", "")
            for wordings, logs in zip(self.wordings, self.log_metres, strict=True)
            for words, log in zip(wordings, logs, strict=True)
        ]


def agreement(captions: Sequence[Caption], depths: Sequence[float], surfaces: Sequence[Surface]) -> Tensor:
    """Return how true each caption is of each point, (points, captions) in [0, 1].

    Args:
        captions: captions.
        depths: depths of the points in metres.
        surfaces: surfaces of the points.
    """
    points, claims = torch.tensor(depths).log()[:, None], torch.tensor([c.metres for c in captions]).log()[None]
    true = torch.exp(-((points - claims) ** 2) / (2 * SPREAD**2)).nan_to_num(nan=1.0)
    for part in ("shape", "colour", "texture"):
        codes: dict[str, int] = {"": -1}
        claimed = torch.tensor([codes.setdefault(getattr(caption, part), len(codes)) for caption in captions])
        actual = torch.tensor([codes.setdefault(getattr(surface, part), len(codes)) for surface in surfaces])
        true *= (claimed[None] == actual[:, None]) | (claimed[None] < 0)
    return true
