"""Build the model and the data of a recipe from the command line."""

import argparse
import inspect
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import yaml
from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser
from jsonargparse.typing import Path_fr

import depthclip.head
import depthclip.predictions  # noqa: F401  # registers Predicted, as the command line does
from depthclip.arguments import prepare
from depthclip.benchmark.workload import without_warnings
from depthclip.data.module import DepthDataModule
from depthclip.errors import InputError
from depthclip.messages import sentence
from depthclip.module import DepthCLIP
from depthclip.parser_messages import parser_sentence
from depthclip.recipe_files import load_yaml, read_recipe
from depthclip.recipe_option import MODE, layers
from depthclip.trust import check_untyped, trusting

PARTS = ("model", "data")


class ModelAndData(ActionConfigFile):
    """The option -c: of a recipe, only the model and the data are used."""

    def __call__(
        self, parser: argparse.ArgumentParser, cfg: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Read a recipe file, or a recipe that is given as text.

        Raises:
            InputError: if the file cannot be used.
        """
        inline = isinstance(values, str) and values.lstrip().startswith("{")
        recipe = load_yaml(values) if inline else read_recipe(values)
        kept = {name: recipe[name] for name in PARTS if name in recipe}
        with nullcontext() if inline else Path_fr(values).relative_path_context():
            for layer in layers(kept) if any(isinstance(part, list) for part in kept.values()) else [kept]:
                super().__call__(parser, cfg, yaml.safe_dump(layer, sort_keys=False), option_string)


def model_and_data(arguments: Sequence[str], options: Sequence[str]) -> tuple[DepthCLIP, DepthDataModule]:
    """Return the model and the data module that arguments describe.

    Args:
        arguments: `-c RECIPE` and options of the model and the data, as for `test`.
        options: names of the options of the subcommand, for messages.

    Raises:
        InputError: if an argument, a recipe or a value is refused.
    """
    given, trusted = prepare(arguments)
    parser = ArgumentParser(
        prog="python -m depthclip benchmark", parser_mode=MODE, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("-c", "--config", action=ModelAndData, help="recipe")
    parser.add_subclass_arguments(DepthDataModule, "data", required=True)
    parser.add_class_arguments(DepthCLIP, "model")
    torch.manual_seed(0)  # of random weights
    with trusting(trusted):
        try:
            config = parser.parse_args(given)
        except ArgumentError as error:
            names = {"": [*options, "config", *PARTS], "model": [*inspect.signature(DepthCLIP).parameters]}
            raise InputError(parser_sentence(error, {**names, "trainer": []})) from error
        check_untyped(config)
        try:
            with without_warnings():
                built = parser.instantiate(config)
        except (ValueError, ArgumentError) as error:  # raised by a constructor, whose arguments are the user's
            raise InputError(sentence(error)) from error
    return built.model, built.data
