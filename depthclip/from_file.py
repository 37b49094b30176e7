"""Build a model from the settings in a checkpoint, which may be untrusted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings
from torch import nn

from depthclip.checkpoint import check_classes, check_settings
from depthclip.errors import InputError
from depthclip.messages import sentence
from depthclip.parser_messages import parser_sentence
from depthclip.trust import PACKAGE, refusing_imports


def build(kind: type[nn.Module], settings: Mapping[str, Any], path: str | Path, allow: Sequence[str] = ()) -> Any:
    """Return the model that settings from a file describe.

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
    if allow:  # the command line, if it ran in this process, has set a denylist
        set_parsing_settings(import_path_allowlist=list(allow))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "model")
    error: Exception | None = None
    with refusing_imports(settings, allow) as refused:
        try:
            parsed = parser.parse_object({"model": {**settings}})
        except (ArgumentError, TypeError, ValueError, AttributeError, IndexError, KeyError) as caught:
            error = caught  # raised by the parser, because the file may hold anything
    if refused:
        raise InputError(
            f"{path} names {refused[0]}, which is not {PACKAGE}'s; if you trust that module, pass its name in `allow`"
        )
    if error is not None:
        raise InputError(f"{path} has settings that do not fit: {parser_sentence(error, {})}") from error
    check_classes(parsed.as_dict(), allow)
    try:
        return parser.instantiate(parsed).model
    except (ArgumentError, ValueError) as caught:  # raised by a constructor for a value of the file
        raise InputError(f"{path} has settings that do not fit: {sentence(caught)}") from caught
