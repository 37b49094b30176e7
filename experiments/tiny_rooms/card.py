"""Write the model card of tiny-rooms: its training and its figures."""

import json
from pathlib import Path

from depthclip.atomic import open_atomic
from experiments.tiny_rooms.batches import CONFIG, FOV, PATCH, Recipe, cores, size_at
from experiments.tiny_rooms.captions import DISTANCES, HELD_OUT_DISTANCES, HELD_OUT_TEMPLATES
from experiments.tiny_rooms.choose import Selection, name_of

VAL_ROOMS, TEST_ROOMS = 100, 200

CARD = """# tiny-rooms

This CLIP of {parameters:.1f} million parameters (ModifiedResNet {layers} of width {width}, text transformer of width
{text_width} with {text_layers} layers, embeddings of {embed_dim}, the tokenizer of OpenAI's CLIP) was trained from
{start} on procedural rooms. It demonstrates language-driven depth in a minute and without a download.

**Limits.** Its captions were written from the depth of the generator, so it is language-supervised and in-domain. It
shows the mechanism. It does not support the claim of DepthCLIP (arXiv 2207.01077) that a CLIP which was trained without
depth understands it. It was not trained on photographs, nor on words that its captions do not contain.
{lenses}
## Training

`python -m experiments.tiny_rooms.pretrain {arguments}`: {steps} steps in
{minutes:.0f} minutes on {cores} CPU cores. A step has {dense} whole images with {captions} captions each; their cells
are read as queries of the attention pool and as in MaskCLIP. Every {crop_every} steps, the step also has {crops} crops
of {patch} x {patch} pixels. The optimizer is AdamW with learning rate {learning_rate:g}. Rooms of 120 x 160 pixels are
resized to {height} x {view_width}{lens}; at another size textures have another scale, which shifts the depth. RGB is
normalized as for OpenAI's CLIP. Training, validation and test rooms share no seed.

Distances in the captions are {distances} wordings and numbers of metres from 0.5 to 9. The wordings mean, in metres:
{meanings}.

**Held out.** No training caption uses these templates: {held_templates}. No training caption contains these
combinations of known words: {held_words}.

## Figures

These settings were chosen on {val_rooms} validation rooms (`python -m experiments.tiny_rooms.choose{choice}`), with
bins at the depths that the words mean:

{choices}

The errors are means over {test_rooms} test rooms. The best constants were determined for each error on the same rooms:

{figures}

{ranks}
"""
LENSES = """
**Lenses.** The fields of view of the rooms alternate: {fields} degrees. Their images are resized to a focal length of
{focal:.1f} pixels, so that a pixel covers the same angle in each, and a step has fewer of the larger ones. Use a view
with this focal length, as the recipe `rooms_lenses` does.
"""


def write_card(recipe: Recipe, parameters: int, seconds: float, figures: Selection, path: Path) -> None:
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
        start=f"the weights `{recipe.start}`" if recipe.start else "scratch",
        lenses=lenses_of(recipe),
        arguments=arguments_of(recipe),
        steps=recipe.steps,
        minutes=seconds / 60,
        cores=cores(),
        crops=recipe.crop_images * recipe.crops,
        dense=recipe.dense_images,
        crop_every=recipe.crop_every,
        patch=PATCH,
        captions=recipe.captions,
        learning_rate=recipe.learning_rate,
        height=size_at(FOV, recipe.focal)[0],
        view_width=size_at(FOV, recipe.focal)[1],
        lens=f" at {FOV:g} degrees" if recipe.fov != Recipe().fov else "",
        choice=f" --focal {recipe.focal:g}" if recipe.focal != Recipe().focal else "",
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


def lenses_of(recipe: Recipe) -> str:
    """Return a paragraph about the fields of view of the rooms and the focal length of their images, "" by default."""
    if (recipe.fov, recipe.focal) == (Recipe().fov, Recipe().focal):
        return ""
    return LENSES.format(fields=", ".join(f"{fov:g}" for fov in sorted(set(recipe.fov))), focal=recipe.focal)


def arguments_of(recipe: Recipe) -> str:
    """Return the arguments of the pretraining on its command line, without those at their defaults."""
    default = Recipe()
    words = [f"--steps {recipe.steps} --seed {recipe.seed} --rooms {recipe.rooms}"]
    if recipe.learning_rate != default.learning_rate:
        words.append(f"--learning_rate {recipe.learning_rate:g}")
    if recipe.fov != default.fov:
        words.append(f"--fov {' '.join(f'{fov:g}' for fov in recipe.fov)}")
    if recipe.focal != default.focal:
        words.append(f"--focal {recipe.focal:g}")
    if recipe.start:
        words.append(f"--start {recipe.start}")
    return " ".join(words)
