"""Build the model and the data module of a recipe without a Trainer."""

from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from depthclip.data.module import DepthDataModule
from depthclip.errors import InputError
from depthclip.messages import sentence
from depthclip.module import DepthCLIP


def instantiate(recipe: Mapping[str, Any]) -> tuple[DepthCLIP, DepthDataModule]:
    """Return the model and the data module of a recipe; the test images are set up.

    Args:
        recipe: a complete recipe, as `depthclip.cli.resolve` returns it; variants of the head are left out.

    Raises:
        InputError: if a constructor refuses an argument, or a file is missing.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(DepthCLIP, "model")
    parser.add_subclass_arguments(DepthDataModule, "data")
    model = {**recipe["model"], "variants": None}
    try:
        built = parser.instantiate(parser.parse_object({"model": model, "data": recipe["data"]}))
    except (ValueError, ArgumentError) as error:  # raised by a constructor, whose arguments are the user's
        raise InputError(sentence(error)) from error
    built.data.setup("test")
    return built.model, built.data
