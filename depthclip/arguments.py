"""Prepare the command line for the parser: names of recipes, presets, trusted modules, recipes of checkpoints."""

import argparse
import inspect
from collections.abc import Sequence
from pathlib import PurePath

from pytorch_lightning import Trainer

from depthclip.checkpoint import KEYWORDS, settings_of
from depthclip.errors import InputError
from depthclip.module import DepthCLIP
from depthclip.positional import with_photographs
from depthclip.recipe_files import shorten
from depthclip.recipe_option import with_presets
from depthclip.recipes import expand

SUBCOMMANDS = {
    "fit": "Train the head on the training split while CLIP stays frozen, and validate it after every epoch.",
    "validate": "Score a model on the validation split.",
    "test": "Score a model, its variants and baselines on the test split; write a table, metrics.json and pictures.",
    "predict": "Write depth maps of photographs, given as files, folders or globs: predict a.jpg folder -c rooms.",
}  # with their descriptions in the help
TOP_LEVEL = (
    "name",
    "output",
    "formats",
    "overwrite",
    "vector",
    "seed_everything",
    "model",
    "data",
    "trainer",
    "ckpt_path",
    "weights_only",
    "verbose",
    "config",
)
LONGEST_NAME = 200


def check_name(name: object) -> None:
    """Raise unless the name of a run is a relative folder within runs/.

    Raises:
        InputError: if it is not.
    """
    text = str(name)
    parts = PurePath(text).parts
    if not parts or text.startswith(("/", "~")) or ".." in parts or "\\" in text or not text.isprintable():
        raise InputError(f"name {shorten(text)!r} must be a folder within runs/, such as mine or mine/first")
    if any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise InputError(f"name {shorten(text)!r} must have at most {LONGEST_NAME} bytes in each part")


def with_recipe_of_checkpoint(args: Sequence[str], trusted: Sequence[str]) -> list[str]:
    """Add the recipe of the checkpoint to a command line that has a checkpoint but no recipe.

    The options of the command line follow the recipe and take precedence.

    Raises:
        InputError: if the checkpoint cannot be read or has no recipe.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--ckpt_path")
    parser.add_argument("-c", "--config")
    try:
        options, _ = parser.parse_known_args(list(args))
    except argparse.ArgumentError:  # an option without a value, which the full parser reports
        return list(args)
    path = options.ckpt_path
    if path in (None, "null", "", *KEYWORDS) or options.config is not None or args[0] not in SUBCOMMANDS:
        return list(args)
    if any(arg == "--model" or arg.startswith("--model=") for arg in args):  # a complete model
        return list(args)
    return [args[0], "-c", settings_of(path, trusted), *args[1:]]


def prepare(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the command line for the parser, and the trusted modules.

    Photographs become the data of `predict`, names of recipes are replaced with files, presets with their fields, and
    --trust is removed.

    Raises:
        InputError: if a recipe or a preset is unknown, or --trust has no value.
    """
    return take_trust(with_presets(expand(with_photographs(args))))


def take_trust(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the command line without --trust, which recipes may not contain, and the trusted modules.

    Raises:
        InputError: if no module follows --trust.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--trust", action="append", default=[])
    try:
        options, rest = parser.parse_known_args(list(args))
    except argparse.ArgumentError as error:
        raise InputError("--trust must be followed by the name of a module, such as --trust mine") from error
    return rest, options.trust


def option_names() -> dict[str, list[str]]:
    """Return the option names below each prefix."""
    return {
        "": [*TOP_LEVEL],
        "model": [*inspect.signature(DepthCLIP).parameters],
        "trainer": [*inspect.signature(Trainer).parameters],
    }
