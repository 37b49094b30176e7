"""Build the model of the command `video` from a recipe and options."""

import warnings
from collections.abc import Sequence
from inspect import signature

import torch
import yaml
from jsonargparse import ArgumentError

from depthclip.arguments import prepare
from depthclip.checkpoint import settings_of
from depthclip.cli import quiet_libraries
from depthclip.errors import InputError
from depthclip.from_file import model_parser, models_of, yaml_line
from depthclip.messages import sentence
from depthclip.module import DepthCLIP
from depthclip.parser_messages import parser_sentence
from depthclip.positional import RECIPES, grouped
from depthclip.recipe_files import load_yaml, one_line, shorten
from depthclip.trust import check_untyped, trusting

OPTIONS = ("output", "smoothing", "every", "max_frames", "fov", "device", "ckpt_path", "overwrite", "config", "model")


def build_model(arguments: Sequence[str], checkpoint: str | None, device: str | None) -> DepthCLIP:
    """Return a model in evaluation mode on its device. Variants of its head are left out.

    Args:
        arguments: options of the model: recipes, `--model.*` and `--trust`.
        checkpoint: a file that `fit` wrote; its recipe is used if the arguments have none.
        device: device of the model; None for a GPU if there is one.

    Raises:
        InputError: if an option, a recipe or the checkpoint cannot be used, there is no such device, or the head must
            be fitted to training data first.
    """
    given, trusted = prepare(arguments)
    has_recipe = any(name.partition("=")[0] in (*RECIPES, "--model") for name, *_ in grouped(given))
    if checkpoint is not None and not has_recipe:
        given = ["-c", settings_of(checkpoint, trusted), *given]
    parser = model_parser(DepthCLIP)
    quiet_libraries()
    with trusting(trusted):
        try:
            parsed = parser.parse_args([*models_only(given), "--model.variants=null"])
        except ArgumentError as error:
            names = {"": [*OPTIONS], "model": [*signature(DepthCLIP).parameters]}
            raise InputError(parser_sentence(error, names, given)) from error
        check_untyped(parsed)
        settings = yaml.safe_load(parser.dump(parsed, skip_none=False, format="yaml"))["model"]
        where = device_of(device)
        try:
            model: DepthCLIP = parser.instantiate(parsed).model
        except (ValueError, ArgumentError) as error:  # raised by a constructor, whose arguments are the user's
            raise InputError(sentence(error)) from error
    model.settings = settings
    if checkpoint is not None:
        model.load_learned(checkpoint)
    if model.head.needs_depths or model.head.needs_images:
        part = "bins" if model.head.needs_depths else "logits"
        raise InputError(f"the {part} of the head are fitted to training data; pass --ckpt_path with a file of fit")
    if model.encoder.name == "tiny-rooms":
        warnings.warn(
            "tiny-rooms was trained on procedural rooms only, so its depth of other videos is meaningless; use a CLIP "
            "trained on photographs, such as -c model/rn50",
            stacklevel=2,
        )
    return model.eval().to(where)


def models_only(arguments: Sequence[str]) -> list[str]:
    """Return options in which each recipe is replaced with its model.

    Raises:
        InputError: if a recipe cannot be read, or has no model.
    """
    replaced: list[str] = []
    for option in grouped(arguments):
        name, _, value = "=".join(option).partition("=")
        if name not in RECIPES or not value:
            replaced.extend(part for part in option if part)
        elif value.lstrip().startswith("{"):
            replaced.extend(("-c", yaml_line({"model": load_yaml(value).get("model") or {}})))
        else:
            replaced.extend(part for model in models_of(value) for part in ("-c", yaml_line({"model": model})))
    return replaced


def device_of(name: str | None) -> torch.device:
    """Return a device by name; a GPU if there is one, else the CPU, for None.

    Raises:
        InputError: if there is no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except Exception as error:  # torch raises several types
        raise InputError(
            f"device {name!r} cannot be used ({shorten(one_line(error))}); use cpu, cuda or cuda:1"
        ) from error
    return device
