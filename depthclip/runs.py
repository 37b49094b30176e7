"""Manage the folders of runs: each folder belongs to one run, and a run that fails without results leaves no folder."""

import shutil
from itertools import count
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_only

from depthclip.errors import InputError

WITHOUT_RESULTS = ("config.yaml", "hparams.yaml")  # files that are written before there are results


class RunLogger(CSVLogger):
    """CSVLogger that creates its folder when the version is chosen, so that two runs never share one.

    Args:
        save_dir: folder of all runs.
        name: folder of this kind of run within `save_dir`.
    """

    def __init__(self, save_dir: str = "runs", name: str = "depthclip") -> None:
        super().__init__(save_dir, name)
        self.claimed: int | None = None

    @property
    def version(self) -> int | str:
        """The number of the run. Rank 0 creates the folder; the other processes get its path from the trainer."""
        if self.claimed is None:
            first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # an attribute that Lightning does not type
            self.claimed = claim(Path(self.root_dir)) if first else 0
        return self.claimed

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Save the log, and remove the folder of a run that failed without results, and the empty folders around it."""
        super().finalize(status)
        if status == "failed" and self.claimed is not None:
            remove_without_results(Path(self.log_dir))
            remove_empty(Path(self.root_dir), Path(self.save_dir))


class RunFolder(RunLogger):
    """RunLogger that creates and removes the folder of a run, but logs nothing, for a run without a logger."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log nothing."""

    def log_hyperparams(self, params: Any = None) -> None:
        """Log nothing."""

    def save(self) -> None:
        """Save nothing."""


def claim(root: Path) -> int:
    """Create the next folder `version_N` and return N; no two processes get the same folder.

    Raises:
        InputError: if the folder cannot be created.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"folder {root} of the runs cannot be created in {Path.cwd()} ({error.strerror}); change to a folder that "
            "can be written, or remove files of the same name"
        ) from error
    numbers = [path.name.removeprefix("version_") for path in root.glob("version_*")]
    first = max((int(number) for number in numbers if number.isdecimal()), default=-1) + 1
    for number in count(first):
        try:
            (root / f"version_{number}").mkdir(parents=True)  # another run may have removed the empty root
        except FileExistsError:
            continue
        return number
    raise AssertionError("unreachable")


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of a run, the same on all devices; every device must call this function.

    A logger such as Weights & Biases has one folder for all runs. Each run then gets a subfolder, which also holds its
    checkpoints.
    """
    folder, logger = Path(trainer.log_dir or trainer.default_root_dir), trainer.logger
    # a logger may know the name of the run on rank 0 only
    if trainer.is_global_zero and logger is not None and logger.save_dir and folder == Path(logger.save_dir):
        version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
        folder = folder / str(logger.name) / version
    return trainer.strategy.broadcast(folder)


def remove_without_results(folder: Path) -> None:
    """Remove the folder of a run if it contains only the recipe."""
    if not folder.is_dir():
        return
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    if all(path.name in WITHOUT_RESULTS for path in files):
        shutil.rmtree(folder)


def remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder and the folders around it as far as they are empty; the root of all runs stays."""
    while folder != root and folder.is_relative_to(root):
        try:
            folder.rmdir()
        except OSError:  # it has files or is gone
            return
        folder = folder.parent
