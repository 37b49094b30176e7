"""Which classes a recipe may name: a class path imports a module, and to import a module is to run its code."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jsonargparse import set_parsing_settings

from depthclip.errors import InputError

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
# Functions of these modules take a path and import what a file names.
REFUSED = tuple(f"{PACKAGE}.{name}" for name in ("__main__", "checkpoint", "cli", "module", "recipe_files", "trust"))


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
