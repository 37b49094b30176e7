"""Options of the command line whose values are recipes or presets."""

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import zip_longest
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, set_loader
from jsonargparse.typing import Path_fr

from depthclip.protocol.presets import KEYS, fields, spell_out
from depthclip.recipe_files import PARTS, load_yaml, read_recipe

MODE = "recipe"  # the name of the loader among the parser modes of jsonargparse


def load(text: str) -> Any:
    """Return the value of YAML text with presets spelled out.

    Raises:
        InputError: if the text cannot be used, or names an unknown preset.
    """
    return spell_out(load_yaml(text))


set_loader(MODE, load, (yaml.YAMLError,))


class RecipeFile(ActionConfigFile):
    """The option -c: a recipe file is checked before the parser copies its values."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        cfg: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Read a recipe file, or a recipe that is given as text.

        Raises:
            InputError: if the file cannot be used.
        """
        recipe, folder = opened(values)
        if not any(isinstance(recipe.get(part), list) for part in PARTS):
            super().__call__(parser, cfg, values, option_string)
            return
        with folder:
            for layer in layers(recipe):
                super().__call__(parser, cfg, yaml.safe_dump(layer, sort_keys=False), option_string)


class PartOfRecipe(ActionConfigFile):
    """The option -c of a subcommand that uses a part of a recipe; a subclass defines `part`."""

    def part(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a recipe that the subcommand uses."""
        raise NotImplementedError

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        cfg: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Read a recipe file, or a recipe that is given as text.

        Raises:
            InputError: if the file cannot be used.
        """
        recipe, folder = opened(values)
        with folder:
            for layer in layers(recipe):
                super().__call__(parser, cfg, yaml.safe_dump(self.part(layer), sort_keys=False), option_string)


def opened(values: Any) -> tuple[dict[str, Any], AbstractContextManager[Any]]:
    """Read a value of -c; return the recipe and a context in which its relative paths start at its folder.

    Args:
        values: path of a recipe file, or a recipe as text, which starts with a brace.

    Raises:
        InputError: if the file cannot be used.
    """
    if isinstance(values, str) and values.lstrip().startswith("{"):
        return load_yaml(values), nullcontext()
    return read_recipe(values), Path_fr(values).relative_path_context()


def layers(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Split a recipe with lists of parts into recipes without lists, to be applied in order.

    `model: [model/released.yaml, {published: {...}}]` is the file, with the figures on top.
    """
    lists = {part: recipe[part] for part in PARTS if isinstance(recipe.get(part), list)}
    if not lists:
        return [{**recipe}]
    rest = {key: value for key, value in recipe.items() if key not in lists}
    stacked = [
        {part: value for part, value in zip(lists, values, strict=True) if value is not None}
        for values in zip_longest(*lists.values())
    ]
    return [rest | stacked[0], *stacked[1:]]


def with_presets(args: Sequence[str]) -> list[str]:
    """Replace presets in the values of options such as `--data.view kitti` with their fields.

    Options that follow, such as `--data.view.mirror false`, then change single fields of the preset.

    Raises:
        InputError: if a preset is unknown.
    """
    replaced: list[str] = []
    for arg in args:
        option, equals, value = arg.partition("=")
        if replaced and takes_preset(replaced[-1]):
            replaced.append(spelled(replaced[-1], arg))
        elif equals and takes_preset(option):
            replaced.append(f"{option}={spelled(option, value)}")
        else:
            replaced.append(arg)
    return replaced


def takes_preset(option: str) -> bool:
    """Return whether the value of an option may be a preset."""
    return option.startswith(("--data.", "--model.")) and option.rpartition(".")[2] in KEYS


def spelled(option: str, value: str) -> str:
    """Return the fields of a preset as JSON, or any other value as it is."""
    try:
        given = load_yaml(value)
    except yaml.YAMLError:  # the parser reports it
        return value
    all_fields = fields(option.rpartition(".")[2], given)
    return value if all_fields == given else json.dumps(all_fields)
