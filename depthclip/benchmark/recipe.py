"""Build the model and the data of a recipe from the command line."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser

import depthclip.head
import depthclip.predictions  # noqa: F401  # registers Predicted, as the command line does
from depthclip.arguments import prepare
from depthclip.benchmark.workload import without_warnings
from depthclip.data.module import DepthDataModule
from depthclip.errors import InputError
from depthclip.messages import sentence
from depthclip.module import DepthCLIP
from depthclip.parser_messages import parser_sentence
from depthclip.recipe_option import MODE, PartOfRecipe
from depthclip.trust import check_untyped, trusting

PARTS = ("model", "data")


class ModelAndData(PartOfRecipe):
    """The option -c: of a recipe, only the model and the data are used."""

    def part(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """Return the model and the data of a recipe."""
        return {name: recipe[name] for name in PARTS if name in recipe}


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
            raise InputError(parser_sentence(error, {**names, "trainer": []}, given)) from error
        check_untyped(config)
        try:
            with without_warnings():
                built = parser.instantiate(config)
        except (ValueError, ArgumentError) as error:  # raised by a constructor, whose arguments are the user's
            raise InputError(sentence(error)) from error
    return built.model, built.data
