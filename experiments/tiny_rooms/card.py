"""The model card of tiny-rooms: what it is, how it was trained, and its figures."""

import json
from pathlib import Path

from depthclip.atomic import open_atomic
from depthclip.data.rooms import HEIGHT, WIDTH
from experiments.tiny_rooms.batches import CONFIG, PATCH, Recipe, cores
from experiments.tiny_rooms.captions import DISTANCES, HELD_OUT_DISTANCES, HELD_OUT_TEMPLATES
from experiments.tiny_rooms.choose import Report, name_of

VAL_ROOMS, TEST_ROOMS = 100, 200

CARD = """# tiny-rooms

A CLIP of {parameters:.1f} million parameters (ModifiedResNet {layers} of width {width}, text transformer of width
{text_width} with {text_layers} layers, embeddings of {embed_dim}, the tokenizer of OpenAI's CLIP) that was trained from
scratch on procedural rooms. It shows how language-driven depth works, in a minute and without a download.

**What it is not.** Its captions were written from the generator's own depth: it is language-supervised and in-domain.
It shows the mechanism, not the claim of DepthCLIP (arXiv 2207.01077) that a CLIP which never saw depth knows of it. It
knows nothing of photographs, and no words but those of its captions.

## Training

`python -m experiments.tiny_rooms.pretrain --steps {steps} --seed {seed} --rooms {rooms}`: {steps} steps in
{minutes:.0f} minutes on {cores} CPU cores. A step has {dense} whole images, the cells of which are read as queries of
the attention pool and as MaskCLIP does, with {captions} captions an image; every {crop_every} steps also {crops} crops
of {patch} x {patch} pixels. AdamW, learning rate {learning_rate:g}. Rooms of 120 x 160 pixels are seen at {height} x
{view_width}; at another size textures have another scale, and depth is wrong by it. RGB is normalised as for OpenAI's
CLIP. Training, validation and test rooms share no seed.

Distances in the captions are {distances} wordings and numbers of metres from 0.5 to 9. What the wordings mean, in
metres: {meanings}.

**Held out.** No training caption is built on these sentences: {held_templates}. None holds these combinations of known
words: {held_words}.

## Figures

Chosen on {val_rooms} validation rooms (`python -m experiments.tiny_rooms.choose`), with the bins at the depths that
the words mean:

{choices}

On {test_rooms} test rooms (errors of each image, then the mean; the best constants are found for each error on these
very rooms):

{figures}

{ranks}
"""


def write_card(recipe: Recipe, parameters: int, seconds: float, figures: Report, path: Path) -> None:
    """Write the model card.

    Args:
        recipe: recipe of the weights.
        parameters: number of parameters.
        seconds: duration of the training.
        figures: choices and figures.
        path: file to write.
    """
    config = json.loads(CONFIG.read_text())
    columns = ("abs_rel", "rmse", "log10", "delta1", "delta2", "delta3")
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, errors in figures.test.items():
        lines.append(f"| {name} | " + " | ".join(f"{errors[column]:.3f}" for column in columns) + " |")
    card = CARD.format(
        parameters=parameters / 1e6,
        layers="-".join(map(str, config["vision_cfg"]["layers"])),
        width=config["vision_cfg"]["width"],
        text_width=config["text_cfg"]["width"],
        text_layers=config["text_cfg"]["layers"],
        embed_dim=config["embed_dim"],
        steps=recipe.steps,
        seed=recipe.seed,
        rooms=recipe.rooms,
        minutes=seconds / 60,
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
    with open_atomic(path) as file:
        file.write(card.encode())
