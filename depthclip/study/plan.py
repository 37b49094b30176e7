"""Plan a study: group variants of a recipe into image passes.

Variants that differ only in their head are scored in one image pass; others run in separate passes. Every pass is a
command with a recipe file, and its folder is named after the fingerprint of the recipe, so that a finished pass is not
repeated.
"""

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from depthclip.errors import InputError
from depthclip.study.files import read_object, read_run, save_text
from depthclip.version import __version__

FINISHED = "finished.json"


class StudyError(InputError):
    """A setting of a study, or of its command line, that the user can correct."""


@dataclass(frozen=True)
class Variant:
    """A recipe with some settings changed.

    Args:
        name: name of the variant; unique in a study.
        settings: changed settings of the recipe by dotted key, such as `{"model.head.temperature": 0.2}`.
        published: figures of a paper to print below the measured figures, by error.
        row: row of the table, by default the name of the variant; variants of the same row, such as seeds, are
            averaged.
        learn: train before scoring; such a variant runs in a separate pass.
        on: name of the test images, for studies with several test sets.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    row: str = ""
    learn: bool = False
    on: str = ""


@dataclass(frozen=True)
class Pass:
    """Variants that are scored by one command, with results in one folder.

    Args:
        variants: the first is the head of the recipe, the others are its `model.variants`.
        recipe: recipe of the run.
        folder: folder of the run.
        learn: train before scoring.
    """

    variants: tuple[Variant, ...]
    recipe: dict[str, Any]
    folder: Path
    learn: bool

    @property
    def label(self) -> str:
        """The name for the progress bar."""
        more = len(self.variants) - 1
        return self.variants[0].name + (f" and {more} more" if more else "")

    @property
    def path(self) -> Path:
        """The path of the recipe file."""
        return self.folder.parent.parent / "recipes" / f"{self.folder.name}.yaml"

    @property
    def finished(self) -> bool:
        """Whether the pass succeeded and all of its results can be read."""
        try:
            read_object(self.folder / FINISHED, ["seconds"])
            scored = read_run(self.folder).scored
        except InputError:
            return False
        return all(self.row_of(variant) in scored for variant in self.variants)

    def command(self, devices: str | None) -> list[str]:
        """Return the command that runs the pass.

        Args:
            devices: value of `--trainer.devices`; None leaves it to the recipe.
        """
        chosen = [] if devices is None else ["--trainer.devices", devices]
        return ["python", "-m", "depthclip", "learn" if self.learn else "test", "-c", str(self.path), *chosen]

    def row_of(self, variant: Variant) -> str:
        """Return the name of a variant in the files of the run."""
        return "head" if variant is self.variants[0] else variant.name


def plan_passes(variants: Sequence[Variant], arguments_of: Callable[[Variant], list[str]], out: Path) -> list[Pass]:
    """Return the image passes that score the variants.

    Args:
        variants: variants to compare.
        arguments_of: function that returns the command line of a variant, without the subcommand.
        out: folder of the results of the study.

    Raises:
        StudyError: if a setting is refused, or two variants have the same name.
    """
    if twice := [name for name, count in Counter(variant.name for variant in variants).items() if count > 1]:
        raise StudyError(
            f"variants {', '.join(sorted(twice))} occur twice; names must be unique, so rename one of each"
        )
    shared: dict[str, list[tuple[Variant, dict[str, Any]]]] = {}
    for variant in variants:
        recipe = resolve_recipe(arguments_of(variant), variant.learn)
        head = recipe["model"].pop("head")
        key = json.dumps([recipe, variant.name if variant.learn else ""], sort_keys=True)
        shared.setdefault(key, []).append((variant, head))
    return [make_pass(json.loads(key)[0], members, out) for key, members in shared.items()]


def make_pass(rest: dict[str, Any], members: list[tuple[Variant, dict[str, Any]]], out: Path) -> Pass:
    """Return the pass of variants that differ only in the head."""
    (first, head), *others = members
    heads = {variant.name: of_variant for variant, of_variant in others} or None
    recipe = {**rest, "model": {**rest["model"], "head": head, "variants": heads}}
    digest = hashlib.sha256(json.dumps([__version__, recipe], sort_keys=True).encode()).hexdigest()[:12]
    # the prefix is needed because YAML reads 465e95993509 as an infinite number
    fingerprint = f"run-{digest}"
    folder = out / "runs" / fingerprint
    csv = {"save_dir": str(folder.parent), "name": fingerprint, "version": ""}
    recipe["trainer"]["logger"] = {"class_path": "pytorch_lightning.loggers.CSVLogger", "init_args": csv}
    recipe["name"] = fingerprint
    return Pass(tuple(variant for variant, _ in members), recipe, folder, first.learn)


def resolve_recipe(arguments: Sequence[str], learn: bool) -> dict[str, Any]:
    """Return the whole recipe of a command line, including all defaults.

    Args:
        arguments: command line without the subcommand.
        learn: whether the recipe is for `fit`.

    Raises:
        StudyError: if a setting is refused.
    """
    from depthclip.cli import resolve  # imported here because it is slow and `--help` works without it

    try:
        return resolve(["fit" if learn else "test", *arguments])
    except InputError as error:
        raise StudyError(
            f"{shlex.join(arguments)} is refused: {error}; use `python -m depthclip test --help` to list the settings"
        ) from error


def write_recipes(passes: Sequence[Pass]) -> None:
    """Write the recipe file of each pass, which its command reads."""
    for image_pass in passes:
        save_text(image_pass.path, yaml.safe_dump(image_pass.recipe, sort_keys=False))
