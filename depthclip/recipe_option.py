"""The option -c: recipe files are checked, and lists of parts are applied in order."""

import argparse
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import zip_longest
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, set_loader
from jsonargparse.typing import Path_fr

from depthclip.protocol import spell_out
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
        inline = isinstance(values, str) and values.lstrip().startswith("{")
        recipe = load_yaml(values) if inline else read_recipe(values)
        if not any(isinstance(recipe.get(part), list) for part in PARTS):
            super().__call__(parser, cfg, values, option_string)
            return
        with nullcontext() if inline else Path_fr(values).relative_path_context():
            for layer in layers(recipe):
                super().__call__(parser, cfg, yaml.safe_dump(layer, sort_keys=False), option_string)


def layers(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Split a recipe with lists of parts into recipes without lists, to be applied in order.

    `model: [model/released.yaml, {published: {...}}]` is the file, with the figures on top.
    """
    lists = {part: recipe[part] for part in PARTS if isinstance(recipe.get(part), list)}
    rest = {key: value for key, value in recipe.items() if key not in lists}
    stacked = [
        {part: value for part, value in zip(lists, values, strict=True) if value is not None}
        for values in zip_longest(*lists.values())
    ]
    return [rest | stacked[0], *stacked[1:]]
