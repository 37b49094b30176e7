"""Choose the words, templates, temperature and bins of tiny-rooms: `python -m experiments.tiny_rooms.choose`.

Every word set, template set, temperature and scale of the bins is scored on validation rooms under every readout, and
the candidate with the largest delta1 - abs_rel is chosen. With `--test_rooms 200` the choice is then scored on test
rooms and compared with the baselines, with sentences of no training caption, and with random orders of its words.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from depthclip.data.rooms import VIEW, RoomsDataset, Split
from depthclip.data.samples import Sample
from depthclip.encoder import AttentionPool, Crops, FrozenCLIP, ImageFeatures, MaskCLIP
from depthclip.evaluation.baselines import fit_baselines
from depthclip.evaluation.best_constant import BestConstant
from depthclip.evaluation.metrics import ERRORS, depth_errors
from depthclip.head import Bins, DepthHead, Prompts
from depthclip.head.prompts import WORDS
from experiments.tiny_rooms.batches import FOCAL
from experiments.tiny_rooms.captions import DISTANCES, HELD_OUT_DISTANCES, HELD_OUT_TEMPLATES, TEMPLATES

# a crop shows the surroundings of a cell of the whole image at the same size
READOUTS = {"attention_pool": AttentionPool(), "maskclip": MaskCLIP(), "crops": Crops(patch=128, stride=32)}
WORD_SETS: dict[str, tuple[str, ...]] = WORDS | {
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
}
TEMPLATE_SETS: dict[str, tuple[str, ...]] = {
    "the paper's": TEMPLATES[:1],
    "trained": tuple(template for template in TEMPLATES if "{object}" not in template),
}
TEMPERATURES = (0.35, 0.7, 1.0)
SCALES = (0.84, 0.88, 0.92, 0.96, 1.0)

Figures = dict[str, float]


class Choice(NamedTuple):
    """The settings of a head.

    Args:
        readout: name of the readout.
        words: name of the word set.
        templates: name of the template set.
        temperature: temperature of the softmax.
        scale: factor of the bins.
    """

    readout: str
    words: str
    templates: str
    temperature: float
    scale: float

    def head(self) -> DepthHead:
        """Return the head of this choice."""
        return head_for(WORD_SETS[self.words], TEMPLATE_SETS[self.templates], self.temperature, self.scale)


class EncodedRooms(NamedTuple):
    """The ground truth and the features of rooms.

    Args:
        truth: (N, H, W) depth in metres.
        features: (N, D, h, w) dense features.
    """

    truth: Tensor
    features: Tensor


def meanings(words: Sequence[str]) -> list[float]:
    """Return the meanings of words in the captions, in metres; small offsets separate words of the same meaning."""
    known = DISTANCES | HELD_OUT_DISTANCES
    return [known[word] + 1e-3 * place for place, word in enumerate(words)]


def head_for(words: Sequence[str], templates: Sequence[str], temperature: float, scale: float) -> DepthHead:
    """Return a head with these words, whose bins are the scaled meanings of the words."""
    return DepthHead(Prompts(words, templates), Bins([scale * depth for depth in meanings(words)]), temperature)


def first_rooms(split: Split, size: int, seed: int) -> list[Sample]:
    """Draw the first rooms of a split."""
    rooms = RoomsDataset(split, size, seed)
    return [rooms[index] for index in range(size)]


def depths_of(samples: Sequence[Sample]) -> Tensor:
    """Return the depth of rooms, (N, H, W) metres."""
    return torch.stack([sample.depth for sample in samples if sample.depth is not None])


@torch.no_grad()
def encode_rooms(encoder: FrozenCLIP, samples: Sequence[Sample], batch: int = 8, focal: float = FOCAL) -> EncodedRooms:
    """Return the depth and the dense features of rooms of one field of view, resized to a focal length in pixels."""
    view = replace(VIEW, focal=focal)
    seen = torch.stack([view.see(sample.image, sample.focal) for sample in samples])
    dense = [encoder.encode_image(rgb.float() / 255).dense for rgb in seen.split(batch)]
    return EncodedRooms(depths_of(samples), torch.cat(dense))


@torch.no_grad()
def score(head: DepthHead, encoder: FrozenCLIP, rooms: EncodedRooms) -> Figures:
    """Return the errors of a head on rooms."""
    head.prepare(encoder.text)
    return score_depth(head(ImageFeatures(rooms.features), encoder.text).depth, rooms.truth)


def score_depth(depth: Tensor, truth: Tensor) -> Figures:
    """Return the errors of coarse depth, (N, 1, h, w), compared with the truth, (N, H, W)."""
    full = VIEW.upsample(depth, (truth.shape[1], truth.shape[2]))
    errors = torch.stack([depth_errors(p.flatten(1), g.flatten())[0] for p, g in zip(full, truth, strict=True)])
    return dict(zip(ERRORS, errors.mean(0).tolist(), strict=True))


def score_baselines(truth: Tensor, train: Sequence[Sample]) -> dict[str, Figures]:
    """Return the errors of the best constants for this truth, and of the median map of training rooms."""
    constant = BestConstant()
    for depth in truth:
        constant.update(depth.flatten())
    median = fit_baselines(depths_of(train)).at((truth.shape[1], truth.shape[2]))[1]
    rows = {"best constants": constant.compute()}
    return rows | {"median map of training rooms": score_depth(median.expand(len(truth), 1, -1, -1), truth)}


def candidates(encoder: FrozenCLIP, readout: str, rooms: EncodedRooms) -> dict[Choice, Figures]:
    """Return the errors of all candidates on validation rooms, sorted from best to worst."""
    grid = itertools.product((readout,), WORD_SETS, TEMPLATE_SETS, TEMPERATURES, SCALES)
    scored = {choice: score(choice.head(), encoder, rooms) for choice in itertools.starmap(Choice, grid)}
    return dict(sorted(scored.items(), key=lambda item: item[1]["abs_rel"] - item[1]["delta1"]))


def held_out(choice: Choice, encoder: FrozenCLIP, rooms: EncodedRooms) -> dict[str, Figures]:
    """Return the errors with sentences of no training caption: held-out templates, held-out words, and both."""
    combinations = sorted(HELD_OUT_DISTANCES, key=HELD_OUT_DISTANCES.__getitem__)
    sentences = {
        f"{choice.readout}, held-out templates": (WORD_SETS[choice.words], HELD_OUT_TEMPLATES),
        f"{choice.readout}, held-out words": (combinations, TEMPLATES[:1]),
        f"{choice.readout}, both held out": (combinations, HELD_OUT_TEMPLATES),
    }
    return {
        name: score(head_for(words, templates, choice.temperature, choice.scale), encoder, rooms)
        for name, (words, templates) in sentences.items()
    }


@torch.no_grad()
def rank_of_order(choice: Choice, encoder: FrozenCLIP, rooms: EncodedRooms, count: int = 1000, seed: int = 0) -> int:
    """Return the rank of the true order of the bins among `count` random orders, by abs_rel at the centres of cells."""
    head = choice.head()
    head.prepare(encoder.text)
    coarse = head(ImageFeatures(rooms.features), encoder.text)
    if coarse.logits is None or coarse.bins is None:
        raise ValueError("a head without words has no order to shuffle; use a head with prompts")
    weights = coarse.logits.softmax(1).permute(0, 2, 3, 1).flatten(0, 2)
    h, w = coarse.depth.shape[-2:]
    height, width = rooms.truth.shape[1:]
    rows, columns = (torch.arange(h) * 2 + 1) * height // (2 * h), (torch.arange(w) * 2 + 1) * width // (2 * w)
    truth = rooms.truth[:, rows][:, :, columns].flatten()
    shuffled = torch.Generator().manual_seed(seed)
    orders = [torch.arange(len(coarse.bins))] + [
        torch.randperm(len(coarse.bins), generator=shuffled) for _ in range(count)
    ]
    errors = torch.stack([((weights @ coarse.bins[order] - truth).abs() / truth).mean() for order in orders])
    return 1 + int((errors[1:] < errors[0]).sum())


def print_errors(title: str, rows: dict[str, Figures]) -> None:
    """Print a table of errors by name."""
    table = Table("", *ERRORS, title=title)
    for name, errors in rows.items():
        table.add_row(name, *(f"{errors[error]:.3f}" for error in ERRORS))
    Console(width=170).print(table)


def name_of(choice: Choice) -> str:
    """Return the description of a choice on one line."""
    return (
        f"{choice.readout}: words {choice.words}, templates {choice.templates}, temperature {choice.temperature:g}, "
        f"bins x {choice.scale:g}"
    )


class Selection(NamedTuple):
    """The choices and their figures.

    Args:
        choices: best settings by readout.
        validation: errors of the choices and baselines on validation rooms, by row.
        test: errors on test rooms, by row; empty without test rooms.
        ranks: rank of the true order of the bins by readout; empty without test rooms.
    """

    choices: dict[str, Choice]
    validation: dict[str, Figures]
    test: dict[str, Figures]
    ranks: dict[str, int]


def search(
    weights: str, val_rooms: int = 100, test_rooms: int = 200, seed: int = 0, best: int = 5, focal: float = FOCAL
) -> Selection:
    """Choose settings on validation rooms, print the best candidates, and score the choices on test rooms.

    Args:
        weights: `bundled`, `lenses`, or a weights file of tiny-rooms.
        val_rooms: number of validation rooms.
        test_rooms: number of test rooms; 0 for none.
        seed: seed of the rooms.
        best: number of candidates to print.
        focal: focal length in pixels to which the rooms are resized.
    """
    train, val = first_rooms("train", 400, seed), first_rooms("val", val_rooms, seed)
    test = first_rooms("test", test_rooms, seed) if test_rooms else []
    result = Selection({}, score_baselines(depths_of(val), train), {}, {})
    if test:
        result.test.update(score_baselines(depths_of(test), train))
    for readout, reads in READOUTS.items():
        encoder = FrozenCLIP("tiny-rooms", weights, reads, "openai")
        scored = candidates(encoder, readout, encode_rooms(encoder, val, focal=focal))
        top = list(scored)[:best]
        print_errors(f"{readout} on {val_rooms} validation rooms", {name_of(choice): scored[choice] for choice in top})
        result.choices[readout] = top[0]
        result.validation[readout] = scored[top[0]]
        if test:
            rooms = encode_rooms(encoder, test, focal=focal)
            result.test[readout] = score(top[0].head(), encoder, rooms)
            result.test.update(held_out(top[0], encoder, rooms))
            result.ranks[readout] = rank_of_order(top[0], encoder, rooms)
    print_errors(f"the choices on {val_rooms} validation rooms", result.validation)
    if test:
        print_errors(f"the choices on {test_rooms} test rooms", result.test)
        for readout, rank in result.ranks.items():
            print(f"{readout}: the true order of the words ranks {rank} among 1000 random ones")
    return result


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", default="bundled", help="`bundled`, `lenses`, or a weights file of tiny-rooms")
    parser.add_argument("--val_rooms", type=int, default=100, help="number of validation rooms")
    parser.add_argument("--test_rooms", type=int, default=0, help="number of test rooms to score; 0 for none")
    parser.add_argument("--seed", type=int, default=0, help="seed of the rooms")
    parser.add_argument("--focal", type=float, default=FOCAL, help="focal length of the images, in pixels")
    given = parser.parse_args(args)
    search(given.weights, given.val_rooms, given.test_rooms, given.seed, focal=given.focal)


if __name__ == "__main__":
    main()
