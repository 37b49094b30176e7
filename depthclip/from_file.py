"""Build a model from the settings in a checkpoint or a recipe, which may be untrusted."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings
from torch import nn

import depthclip.predictions  # noqa: F401  # registers Predicted, as the command line does
from depthclip.checkpoint import check_classes, check_settings
from depthclip.checks import brief
from depthclip.errors import InputError
from depthclip.head.interfaces import Head
from depthclip.messages import sentence
from depthclip.parser_messages import parser_sentence
from depthclip.recipe_files import PARTS, read_mapping, read_recipe
from depthclip.recipe_option import MODE, RecipeFile
from depthclip.recipes import find
from depthclip.trust import PACKAGE, check_untyped, refusing_imports

Kind = TypeVar("Kind", bound=nn.Module)
UNFIT = (ArgumentError, TypeError, ValueError, AttributeError, IndexError, KeyError)  # as the file may hold anything


def build(kind: type[Kind], settings: Mapping[str, Any], path: str | Path, allow: Sequence[str] = ()) -> Kind:
    """Return the model that settings from a checkpoint describe.

    The named classes are checked after the parser has resolved short names. Parsing imports no further module.

    Args:
        kind: class of the model.
        settings: arguments of the class, as plain values of YAML.
        path: the file, for messages.
        allow: modules outside this package whose classes the settings may name.

    Raises:
        InputError: if the settings name other classes or do not fit the class.
    """
    check_settings(settings, path, allow)
    parser = model_parser(kind)
    parsed = parse(lambda: parser.parse_object({"model": {**settings}}), kind, settings, path, allow)
    return instantiate(parser, parsed, path)


def build_recipe(
    kind: type[Kind], name: str, overrides: Mapping[str, Any], allow: Sequence[str] = ()
) -> tuple[Kind, dict[str, Any]]:
    """Return the model of a recipe, and its complete settings as plain values of YAML.

    Args:
        kind: class of the model.
        name: a file, or the name of a recipe of the package.
        overrides: settings by the name of the option, such as `model.head.temperature`.
        allow: modules outside this package whose classes the recipe and the overrides may name.

    Raises:
        InputError: if the recipe cannot be read, or names other classes, or settings do not fit the class.
    """
    options, models = options_of(overrides), models_of(str(find(name)))
    recipes = [part for model in models for part in ("-c", yaml_line({"model": model}))]
    parser = model_parser(kind)
    parsed = parse(lambda: parser.parse_args([*recipes, *options]), kind, [models, overrides], name, allow)
    settings = yaml.safe_load(parser.dump(parsed, skip_none=False, format="yaml"))["model"]
    return instantiate(parser, parsed, name), settings


def model_parser(kind: type[nn.Module]) -> ArgumentParser:
    """Return a parser of the arguments of a model, which reads recipes as the command line does."""
    parser = ArgumentParser(exit_on_error=False, parser_mode=MODE, allow_abbrev=False)
    parser.add_argument("-c", "--config", action=RecipeFile)
    parser.add_class_arguments(kind, "model")
    return parser


def parse(
    run: Callable[[], Namespace], kind: type[nn.Module], settings: object, source: str | Path, allow: Sequence[str]
) -> Namespace:
    """Return the parsed settings of a model, after a check of the classes that they name.

    Args:
        run: function that parses the settings.
        kind: class of the model.
        settings: the settings.
        source: name of the file, for messages.
        allow: modules outside this package whose classes the settings may name.

    Raises:
        InputError: if the settings name other classes or do not fit.
    """
    if allow:  # the command line, if it ran in this process, has set a denylist
        set_parsing_settings(import_path_allowlist=list(allow))
    error: Exception | None = None
    with refusing_imports(settings, allow) as refused:
        try:
            parsed = run()
            check_untyped(parsed)
        except UNFIT as caught:
            error = caught
    if refused:
        raise InputError(
            f"{source} names {refused[0]}, which is not {PACKAGE}'s; if you trust that module, pass its name in `allow`"
        )
    if error is not None:
        known = {"": ["model"], "model": [*signature(kind).parameters]}
        raise InputError(f"{source} has settings that do not fit: {parser_sentence(error, known)}") from error
    check_classes(parsed.as_dict(), allow)
    return parsed


def instantiate(parser: ArgumentParser, parsed: Namespace, source: str | Path) -> Any:
    """Return the model of parsed settings.

    Raises:
        InputError: if a constructor refuses a value.
    """
    try:
        return parser.instantiate(parsed).model
    except (ArgumentError, ValueError) as caught:  # raised by a constructor for a value of the file
        raise InputError(f"{source} has settings that do not fit: {sentence(caught)}") from caught


def models_of(path: str) -> list[Mapping[str, Any]]:
    """Return the settings of the model in a recipe; later ones take precedence.

    Args:
        path: a recipe, or a file of a model, such as configs/model/rn50.yaml.

    Raises:
        InputError: if a file cannot be read, or the recipe has no model.
    """
    content = read_mapping(path)
    if PARTS["model"] & content.keys():
        return [content]
    model = read_recipe(path).get("model")
    if not model:
        raise InputError(f"{path} has no model; use a recipe with a model, such as rooms or model/rn50")
    parts = model if isinstance(model, list) else [model]
    return [part if isinstance(part, dict) else read_mapping(str(Path(path).parent / part)) for part in parts]


def options_of(overrides: Mapping[str, Any]) -> list[str]:
    """Return settings by name as options of the command line.

    Raises:
        InputError: if a name does not begin with `model.`, or a value is not a plain value of YAML.
    """
    if not isinstance(overrides, Mapping):
        raise InputError(
            f"overrides {brief(overrides)} must map names to values, such as model.head.temperature to 0.2"
        )
    options = []
    for name, value in overrides.items():
        if not isinstance(name, str) or not re.fullmatch(r"model(\.\w+)+", name):
            raise InputError(
                f"overrides has the name {brief(name)}, but must have names such as model.head.temperature"
            )
        try:
            text = yaml_line(json.loads(json.dumps(value)))
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"override {name} is {brief(value)}, but must be a number, a text, a list or a mapping of them"
            ) from error
        options.append(f"--{name}={text}")
    return options


def yaml_line(value: Any) -> str:
    """Return a plain value as YAML text on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("...\n").strip()


def check_fitted(model: nn.Module, recipe: str | Path) -> None:
    """Raise if a head must be fitted to training data before it can run.

    Args:
        model: the model.
        recipe: its recipe, for the message.

    Raises:
        InputError: naming what is missing and the way out.
    """
    for part in model.modules():
        if isinstance(part, Head) and (part.needs_depths or part.needs_images):
            kind, other = ("bins", "model.head.bins") if part.needs_depths else ("logits", "model.head.calibrated")
            raise InputError(
                f"recipe {brief(str(recipe))} has a head whose {kind} are fitted to training data; pass the checkpoint "
                f"of a run as `checkpoint`, or set {other} (or model.variants) in `overrides`"
            )
