"""Look up the recipes that come with the package by name: `model/rn50` is configs/model/rn50.yaml."""

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from depthclip.checks import brief
from depthclip.errors import InputError

FILES = {"-c", "--config"}
PARTS = {"--model", "--data"}
NAME = re.compile(r"[\w./-]+")  # anything else is inline YAML, or is refused by the parser


def folder() -> Path:
    """Return the folder of the recipes, which is inside an installed package and beside the package in a clone."""
    package = Path(__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def names() -> tuple[str, ...]:
    """Return the names of all recipes, whole runs first, then the recipes of each folder."""
    root = folder()
    paths = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))
    return tuple(sorted(paths, key=lambda name: ("/" in name, name)))


def find(name: str) -> Path:
    """Return the file of a recipe.

    Args:
        name: a file, or the name of a recipe that comes with the package, such as `rooms`, `model/rn50` or
            `configs/model/rn50.yaml`. A file of that name takes precedence.

    Raises:
        InputError: if there is neither; the message lists the nearest names.
    """
    if _is_file(name):
        return Path(name)
    short = _short(name)
    known = names()
    if short in known:
        return folder() / f"{short}.yaml"
    near = [other for other in known if other.rpartition("/")[2] == short.rpartition("/")[2]]
    near = near or get_close_matches(short, known)
    nearest = f"; the nearest names are {', '.join(near)}" if near else ""
    raise InputError(
        f"recipe {brief(name)} is neither a file nor a recipe of the package{nearest}; give the path of a file, or a "
        "name that `python -m depthclip recipes` lists"
    )


def recipes() -> dict[str, str]:
    """Return the first comment line of each recipe, by name."""
    root = folder()
    first = {name: (root / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0] for name in names()}
    return {name: line.removeprefix("#").strip() for name, line in first.items()}


def expand(args: Sequence[str]) -> list[str]:
    """Replace the names of recipes in command-line arguments with their files.

    The values of `-c` and `--config` must be files or names of recipes. The values of `--model` and `--data` may
    also be names of classes, so only names with a folder, such as `model/rn50`, are looked up.

    Raises:
        InputError: if a recipe is unknown.
    """
    expanded: list[str] = []
    for arg in args:
        before = expanded[-1] if expanded else ""
        option, equals, value = arg.partition("=")
        if before in FILES | PARTS:
            expanded.append(_replace(before, arg))
        elif equals and option in FILES | PARTS:
            expanded.append(f"{option}={_replace(option, value)}")
        else:
            expanded.append(arg)
    return expanded


def show() -> None:
    """Print the names of the recipes with their first comment line, and the folder of the recipes."""
    listed = recipes()
    width = max(map(len, listed))
    for name, line in listed.items():
        print(f"{name:{width}}  {line}")
    print(f"\nUse a whole run with -c NAME, the others with --model NAME, --data NAME or a second -c NAME.\n{folder()}")


def _replace(option: str, value: str) -> str:
    class_name = option in PARTS and "/" not in value
    # folders and broken links are left to the reader of recipes, which reports the reason
    return value if class_name or os.path.lexists(value) or not NAME.fullmatch(value) else str(find(value))


def _is_file(name: str) -> bool:
    return os.path.exists(name) and not os.path.isdir(name)  # a pipe counts: -c <(...)


def _short(name: str) -> str:
    return name.removeprefix("configs/").removesuffix(".yaml")
