"""Which classes a recipe may name: a class path imports a module, and to import a module is to run its code."""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from jsonargparse import Namespace, set_parsing_settings

from depthclip.errors import InputError
from depthclip.recipe_files import texts

PACKAGE = __name__.partition(".")[0]
# All that a recipe needs without classes of the user: this package and the parts of a Trainer.
KNOWN = (
    PACKAGE,
    "pytorch_lightning.accelerators",
    "pytorch_lightning.callbacks",
    "pytorch_lightning.loggers",
    "pytorch_lightning.plugins",
    "pytorch_lightning.profilers",
    "pytorch_lightning.strategies",
    "lightning_fabric.plugins",
    "torch.optim",
)
# Functions of these modules take a path, and import what a file names or run what a list says.
REFUSED = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        "__main__",
        "arguments",
        "checkpoint",
        "cli",
        "from_file",
        "inference",
        "learn",
        "module",
        "recipe_option",
        "study",
        "trust",
    )
)


@contextmanager
def trusting(modules: Sequence[str] = ()) -> Iterator[None]:
    """Let the argument parser import the classes of this package, of a Trainer's parts and of further modules only.

    The settings of jsonargparse are global, so they hold for the process; `modules` are trusted within the block only.
    Classes in places without a type (Any, object) are never built, and recipes are never read from a network.

    Args:
        modules: modules that the user trusts, such as `mine` or `mine.losses`.

    Raises:
        InputError: if a name is not a module's.
    """
    for name in modules:
        if not all(part.isidentifier() for part in name.split(".")) or name.partition(".")[0] == "jsonargparse":
            raise InputError(f"--trust {name!r} must be the name of a module, such as mine or mine.losses")
    set_parsing_settings(
        instantiate_subclass_spec_in_any=False,
        config_read_mode_urls_enabled=False,
        config_read_mode_fsspec_enabled=False,
        import_path_denylist=["*", *REFUSED],
        import_path_allowlist=[*KNOWN, *modules],
    )
    try:
        yield
    finally:
        set_parsing_settings(import_path_denylist=[name for name in modules if name not in KNOWN])


def check_untyped(values: object, name: str = "") -> None:
    """Raise if a class is named in a place without a type, where it would stay a mapping that its owner trips over.

    Args:
        values: what the argument parser made of a recipe: a `Namespace` for each class that it will build, `dict` for
            plain values.
        name: key of the values.

    Raises:
        InputError: naming the key and the class.
    """
    if isinstance(values, dict) and "class_path" in values:
        raise InputError(f"{name} takes plain values, not the class {values['class_path']!r}; remove class_path there")
    inner = vars(values) if isinstance(values, Namespace) else values
    if isinstance(inner, dict):
        for key, value in inner.items():
            check_untyped(value, f"{name}.{key}".lstrip("."))
    elif isinstance(inner, list):
        for value in inner:
            check_untyped(value, name)


class Refusal(MetaPathFinder):
    """An import hook that refuses some modules.

    Args:
        names: full names of the modules.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = set(names)
        self.refused: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return None, which leaves the search to the other hooks.

        Raises:
            ModuleNotFoundError: if the module is refused.
        """
        if fullname in self.names:
            self.refused.append(fullname)
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


@contextmanager
def refusing_imports(settings: object, allow: Sequence[str]) -> Iterator[list[str]]:
    """Refuse to import the modules that settings from a file name, unless they are this package's or allowed.

    The settings of jsonargparse are global and could not be taken back afterwards, so `DepthCLIP.load`, which is called
    from programs that may have a parser of their own, uses a hook for the time of parsing instead.

    Args:
        settings: nested settings; every text in them may be a class path.
        allow: further modules that the user trusts.

    Yields:
        The modules that were refused, a list that grows.
    """
    names = {prefix for text in texts(settings) for prefix in prefixes(text) if not within(prefix, (PACKAGE, *allow))}
    hook = Refusal(names)
    sys.meta_path.insert(0, hook)
    try:
        yield hook.refused
    finally:
        sys.meta_path.remove(hook)


def prefixes(text: str) -> list[str]:
    """Return the module names that a dotted text may stand for: `a` and `a.b` for `a.b.C`."""
    parts = text.split(".")
    return [".".join(parts[: k + 1]) for k in range(len(parts))] if all(p.isidentifier() for p in parts) else []


def within(module: str, modules: Sequence[str]) -> bool:
    """Return whether a module is one of these or below one of them."""
    return any(module == name or module.startswith(f"{name}.") for name in modules)
