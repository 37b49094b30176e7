"""Restrict the classes that a recipe may name: a class path imports a module, and importing runs its code."""

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
# modules for recipes without classes of the user: this package and the parts of a Trainer
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
# functions of these modules import modules that a file names, or run commands that a list contains
REFUSED = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        "__main__",
        "app",
        "arguments",
        "benchmark",
        "checkpoint",
        "checkpointed",
        "cli",
        "estimator",
        "from_file",
        "inference",
        "instantiate",
        "learn",
        "module",
        "recipe_option",
        "score",
        "score_run",
        "study",
        "trust",
        "video",
        "video_command",
    )
)


@contextmanager
def trusting(modules: Sequence[str] = ()) -> Iterator[None]:
    """Restrict the argument parser to classes of this package, of a Trainer's parts and of trusted modules.

    The settings of jsonargparse are global and stay in force for the process, but `modules` are trusted only within the
    block. Classes for arguments of type Any or object are never built, and recipes are never read from a network.

    Args:
        modules: modules that the user trusts, such as `mine` or `mine.losses`.

    Raises:
        InputError: if a name is not a valid module name.
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
    """Raise if a class is named for an argument of plain values, where the parser would leave it as a mapping.

    Args:
        values: parsed recipe: a `Namespace` for each class that the parser will build, `dict` for plain values.
        name: key of the values.

    Raises:
        InputError: if a plain value has a `class_path`.
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
    """An import hook that refuses some modules and records the refused names.

    Args:
        names: full names of the modules.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = set(names)
        self.refused: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return None, so that the other hooks search for the module.

        Raises:
            ModuleNotFoundError: if the module is refused.
        """
        if fullname in self.names:
            self.refused.append(fullname)
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


@contextmanager
def refusing_imports(settings: object, allow: Sequence[str]) -> Iterator[list[str]]:
    """Refuse imports of modules that settings from a file name, unless they belong to this package or are allowed.

    The settings of jsonargparse are global and cannot be restored. `DepthCLIP.load` may be called by a program with
    another parser, so it uses an import hook during parsing instead.

    Args:
        settings: nested settings; every text in them may be a class path.
        allow: further modules that the user trusts.

    Yields:
        A list to which the name of each refused module is appended.
    """
    names = {prefix for text in texts(settings) for prefix in prefixes(text) if not within(prefix, (PACKAGE, *allow))}
    hook = Refusal(names)
    sys.meta_path.insert(0, hook)
    try:
        yield hook.refused
    finally:
        sys.meta_path.remove(hook)


def prefixes(text: str) -> list[str]:
    """Return the names of modules that importing a dotted path may load: `a`, `a.b` and `a.b.C` for `a.b.C`."""
    parts = text.split(".")
    return [".".join(parts[: k + 1]) for k in range(len(parts))] if all(p.isidentifier() for p in parts) else []


def within(module: str, modules: Sequence[str]) -> bool:
    """Return whether a module is in a list of modules, or a submodule of one of them."""
    return any(module == name or module.startswith(f"{name}.") for name in modules)
