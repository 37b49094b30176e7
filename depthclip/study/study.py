"""Define a study: a question, and the variants of a recipe that answer it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from depthclip.recipes import find, names
from depthclip.study.collect import Results
from depthclip.study.pictures import draw_rows
from depthclip.study.plan import Variant

HeadSettings = Mapping[str, Any]


@dataclass(frozen=True)
class Options:
    """The options on the command line of a study.

    Args:
        out: folder of the results.
        data: data file that replaces the data of the recipe.
        model: model file that replaces the model of the recipe.
        settings: settings of all variants, by dotted key.
        devices: devices of each pass; None leaves them to the recipe.
        quick: use the small set-up that comes with the package.
        dry_run: print the plan without running it.
        resume: keep passes that have finished.
        wandb: record the variants with Weights & Biases.
        vector: format of the figure besides PNG: `pdf`, `svg`, or None.
    """

    out: Path
    data: str | None = None
    model: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    devices: str | None = None
    quick: bool = False
    dry_run: bool = False
    resume: bool = False
    wandb: Literal["online", "offline"] | None = None
    vector: Literal["pdf", "svg"] | None = None


def no_notes(found: Results) -> str:
    """Return no notes."""
    return ""


@dataclass(frozen=True)
class Study:
    """A question, the variants that answer it, and the presentation of the results.

    Args:
        name: name of the study, and of the folder in `results`.
        question: question of the study, one sentence.
        variants: function that returns the variants for the options and the arguments of the recipe's head; the other
            variants are compared with the first.
        recipe: recipe that the variants change.
        quick_recipe: recipe with `--quick`.
        settings: settings of all variants, with either recipe.
        quick_settings: settings of all variants with `--quick`, unless `--data` is given.
        notes: function that returns text below the table, as Markdown; variants that failed have no row.
        draw: function that draws figure.png, and figure.pdf or figure.svg with `--vector`; variants that failed
            have no row.
        needs: text about the files that the study needs, printed if nothing could be scored.
    """

    name: str
    question: str
    variants: Callable[[Options, HeadSettings], list[Variant]]
    recipe: str = "nyu_rn50"
    quick_recipe: str = "rooms"
    settings: Mapping[str, Any] = field(default_factory=dict)
    quick_settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Callable[[Results], str] = no_notes
    draw: Callable[[Results, Path], None] = draw_rows
    needs: str = ""


def arguments_of(study: Study, options: Options, variant: Variant) -> list[str]:
    """Return the command line of a variant: the recipe, then the settings of the study, the user and the variant.

    The values of `data` and `model` are names of recipes, such as `data/nyu`.

    Raises:
        StudyError: if there is no such recipe.
    """
    quick = study.quick_settings if options.quick and not options.data else {}
    chosen = {key: value for key, value in (("model", options.model), ("data", options.data)) if value is not None}
    settings = {**study.settings, **quick, **chosen, **options.settings, **variant.settings}
    # whole files come first, because later settings change them
    ordered = sorted(settings.items(), key=lambda setting: setting[0] not in ("model", "data"))
    words = ["-c", str(find(study.quick_recipe if options.quick else study.recipe))]
    for key, value in ordered:
        text = value if isinstance(value, str) else json.dumps(value)
        words.append(f"--{key}={recipe_path(text) if key in ('model', 'data') else text}")
    return words


def recipe_path(text: str) -> str:
    """Return the path of the recipe with a name, or the text if there is no such recipe, as for names of classes."""
    return str(find(text)) if text in names() else text
