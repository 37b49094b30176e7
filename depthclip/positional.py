"""Photographs on the command line of `predict`: files, folders and globs beside the options."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import islice

from depthclip.errors import InputError
from depthclip.file_names import printable
from depthclip.recipe_files import shorten

FLAGS = ("-h", "--help", "--overwrite", "--print_config")  # options without a value
RECIPES = ("-c", "--config")
CLASSES = ("Photos", "depthclip.data.Photos", "depthclip.data.photos.Photos")
PLAIN = {"view": None, "loading": {"batch_size": 1, "num_workers": None, "on_error": "skip"}}


def with_photographs(args: Sequence[str]) -> list[str]:
    """Return a command line whose photographs are the value of `--data`.

    `predict a.jpg folder -c rooms` becomes `predict -c rooms --data {Photos of [a.jpg, folder]}`. The data section of
    recipes is replaced as a whole, so that their view and loading do not apply to photographs; the same holds for
    `--data Photos`. Options such as `--data.view.mirror` change single fields. Arguments after `--` are photographs.

    Raises:
        InputError: if `--data` or `--data.images` is given too, or a name is not UTF-8, which YAML cannot hold.
    """
    if not args or args[0] != "predict":
        return list(args)
    photographs: list[str] = []
    options: list[tuple[str, ...]] = []
    for option in grouped(args[1:]):
        if option[0] == "":
            photographs.append(option[1])
        else:
            options.append(_replaced(option))
    if photographs:
        for option in options:
            if option[0].partition("=")[0] in ("--data", "--data.images", "--data.init_args.images"):
                raise InputError(
                    f"photographs {shorten(photographs[0])!r} and {shorten(' '.join(option))} both set the data; use "
                    "one of them"
                )
        for path in photographs:
            if printable(path) != path:
                pattern = re.sub("[\ud800-\udfff]", "?", path)
                raise InputError(
                    f"the name of photograph {printable(path)} is not UTF-8; pass its folder, or the pattern "
                    f"{shlex.quote(pattern)}"
                )
        after = max((k for k, option in enumerate(options, 1) if option[0].partition("=")[0] in RECIPES), default=0)
        options.insert(after, ("--data", photos(photographs)))
    return [args[0], *(part for option in options for part in option)]


def photos(images: Sequence[str] | None = None) -> str:
    """Return the data section of photographs as JSON, with the defaults of `Photos` in place of those of a recipe."""
    given = {} if images is None else {"images": list(images)}
    return json.dumps({"class_path": CLASSES[1], "init_args": {**given, **PLAIN}})


def grouped(args: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield options with their values, and photographs or videos as ("", path)."""
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            yield from (("", path) for path in rest)
        elif not arg.startswith("-") or arg == "-":
            yield "", arg
        elif "=" in arg or arg in FLAGS:
            yield (arg,)
        else:
            yield arg, *islice(rest, 1)


def _replaced(option: tuple[str, ...]) -> tuple[str, ...]:
    """Return an option with the defaults of photographs if it is `--data Photos`."""
    name, _, value = "=".join(option).partition("=")
    return (name, photos()) if name == "--data" and value in CLASSES else option
