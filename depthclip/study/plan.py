"""The plan of a study: variants of a recipe, and the image passes that score them.

Variants that differ only in their head are scored in one image pass; others run in a process each. Every pass is a
plain command on a recipe file, in a folder named after the fingerprint of its recipe, so that a pass that finished is
not repeated.
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

from depthclip import __version__
from depthclip.errors import InputError
from depthclip.study.files import read_object, read_run, save_text

FINISHED = "finished.json"


class StudyError(InputError):
    """A setting of a study, or of its command line, that the user can correct."""


@dataclass(frozen=True)
class Variant:
    """A recipe with some settings changed.

    Args:
        name: name of the variant; unique in a study.
        settings: changed settings of the recipe by dotted key, such as `{"model.head.temperature": 0.2}`.
        published: figures of a paper to print below the measured ones, by error.
        row: row of the table; variants of one row, such as seeds, are averaged. The name of the variant by default.
        learn: train before scoring; such a variant runs in its own pass.
        on: name of the test images, if the variants of a study are scored on different ones.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    row: str = ""
    learn: bool = False
    on: str = ""


@dataclass(frozen=True)
class Pass:
    """Variants that are scored together: one command, one folder.

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
        """Return a short name for the progress bar."""
        more = len(self.variants) - 1
        return self.variants[0].name + (f" and {more} more" if more else "")

    @property
    def path(self) -> Path:
        """Return the path of the recipe file."""
        return self.folder.parent.parent / "recipes" / f"{self.folder.name}.yaml"

    @property
    def finished(self) -> bool:
        """Return whether the pass ended well and all of its results can be read."""
        try:
            read_object(self.folder / FINISHED, ["seconds"])
            scored = read_run(self.folder).scored
        except InputError:
            return False
        return all(self.row_of(variant) in scored for variant in self.variants)

    def command(self, devices: str | None) -> list[str]:
        """Return the command that runs the pass."""
        chosen = [] if devices is None else ["--trainer.devices", devices]
        return ["python", "-m", "depthclip", "learn" if self.learn else "test", "-c", str(self.path), *chosen]

    def row_of(self, variant: Variant) -> str:
        """Return the name of a variant in the files of the run."""
        return "head" if variant is self.variants[0] else variant.name


def plan(variants: Sequence[Variant], arguments_of: Callable[[Variant], list[str]], out: Path) -> list[Pass]:
    """Return the image passes that score some variants.

    Args:
        variants: variants to compare.
        arguments_of: returns the command line of a variant, without the subcommand.
        out: folder of the results of the study.

    Raises:
        StudyError: if a setting is refused, or two variants have the same name.
    """
    if twice := [name for name, count in Counter(variant.name for variant in variants).items() if count > 1]:
        raise StudyError(f"variants {', '.join(sorted(twice))}: each must have a name of its own; rename one of each")
    shared: dict[str, list[tuple[Variant, dict[str, Any]]]] = {}
    for variant in variants:
        recipe = resolve_recipe(arguments_of(variant), variant.learn)
        head = recipe["model"].pop("head")
        key = json.dumps([recipe, variant.name if variant.learn else ""], sort_keys=True)
        shared.setdefault(key, []).append((variant, head))
    return [make_pass(json.loads(key)[0], members, out) for key, members in shared.items()]


def make_pass(rest: dict[str, Any], members: list[tuple[Variant, dict[str, Any]]], out: Path) -> Pass:
    """Return one pass for variants that share everything but the head."""
    (first, head), *others = members
    heads = {variant.name: of_variant for variant, of_variant in others} or None
    recipe = {**rest, "model": {**rest["model"], "head": head, "variants": heads}}
    digest = hashlib.sha256(json.dumps([__version__, recipe], sort_keys=True).encode()).hexdigest()[:12]
    # a word in front, because YAML reads 465e95993509 as an infinite number
    fingerprint = f"run-{digest}"
    folder = out / "runs" / fingerprint
    csv = {"save_dir": str(folder.parent), "name": fingerprint, "version": ""}
    recipe["trainer"]["logger"] = {"class_path": "pytorch_lightning.loggers.CSVLogger", "init_args": csv}
    recipe["name"] = fingerprint
    return Pass(tuple(variant for variant, _ in members), recipe, folder, first.learn)


def resolve_recipe(arguments: Sequence[str], learn: bool) -> dict[str, Any]:
    """Return the whole recipe that a command line stands for, all defaults included.

    Raises:
        StudyError: if a setting is refused.
    """
    from depthclip.cli import resolve  # slow to import, and `--help` works without

    try:
        return resolve(["fit" if learn else "test", *arguments])
    except InputError as error:
        raise StudyError(
            f"{shlex.join(arguments)} is refused: {error}; use `python -m depthclip test --help` to list the settings"
        ) from error


def write_recipes(passes: Sequence[Pass]) -> None:
    """Write the recipe file of each pass, so that its command can be run as it stands."""
    for one in passes:
        save_text(one.path, yaml.safe_dump(one.recipe, sort_keys=False))
