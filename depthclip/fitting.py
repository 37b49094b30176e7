"""Checkpoints of `fit`: the best and the last are kept, written atomically, and named when the training ends."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from depthclip.atomic import open_atomic
from depthclip.errors import InputError
from depthclip.trust import PACKAGE, within

MONITOR = "val/abs_rel"
# whose classes a model may contain without --trust
LIBRARIES = (
    PACKAGE,
    "torch",
    "torchvision",
    "torchmetrics",
    "pytorch_lightning",
    "open_clip",
    "timm",
    "transformers",
    "__main__",
)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside its place and rename it, so that a full disk or a kill never leaves a broken file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save a checkpoint.

        Args:
            checkpoint: the states of model and trainer.
            path: a local path; other addresses, such as `s3://`, are left to Lightning.
            storage_options: not supported, as by the base class.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open_atomic(path) as file:
            torch.save(checkpoint, file)


class KeptCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that continues from the best checkpoint of a resumed run, even in a new folder."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best checkpoint and its figure, unless the file is gone."""
        if Path(state_dict["best_model_path"]).is_file():
            super().load_state_dict({**state_dict, "dirpath": self.dirpath})


class BestCheckpoint(KeptCheckpoint):
    """Keep the checkpoint with the lowest validation abs_rel as `best.ckpt`; keep none if nothing is validated."""

    def __init__(self) -> None:
        super().__init__(filename="best", monitor=MONITOR, mode="min")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Switch the callback off if there are no validation batches."""
        super().on_train_start(trainer, pl_module)
        if not validates(trainer):
            self.save_top_k = 0


class LastCheckpoint(KeptCheckpoint):
    """Keep the checkpoint of the last epoch as `last.ckpt`."""

    def __init__(self) -> None:
        super().__init__(filename="last", save_on_train_epoch_end=True)


class FitSummary(Callback):
    """Save checkpoints atomically, and print their paths and the command that tests them at the end of `fit`."""

    def __init__(self) -> None:
        self.trained = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's default way of writing checkpoints; a plugin that the user chose stays."""
        self.trained = False
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record that the training has steps left."""
        self.trained = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the checkpoints.

        Raises:
            InputError: if the checkpoint that `fit` started from had nothing left to train.
        """
        if not self.trained:
            start = (
                f"{trainer.ckpt_path} has been trained for {trainer.current_epoch} epochs" if trainer.ckpt_path else ""
            )
            raise InputError(
                f"trainer.max_epochs {trainer.max_epochs} and trainer.max_steps {trainer.max_steps} leave nothing to "
                f"train{f': {start}' if start else ''}; set trainer.max_epochs to a larger number"
            )
        if trainer.is_global_zero:
            print(closing_message(trainer, user_modules(pl_module)))


def checkpoint_callbacks(given: Iterable[Callback] = ()) -> list[Callback]:
    """Return the callbacks that keep the best and the last checkpoint and name them at the end of `fit`.

    Args:
        given: callbacks that the trainer has already; if one of them keeps checkpoints, no other is added.
    """
    if any(isinstance(callback, Checkpoint) for callback in given):
        return [FitSummary()]
    return [BestCheckpoint(), LastCheckpoint(), FitSummary()]


def validates(trainer: Trainer) -> bool:
    """Return whether `fit` has validation batches; known once the training has started."""
    counts = trainer.num_val_batches
    return trainer.enable_validation and sum(counts if isinstance(counts, list) else [counts]) > 0


def user_modules(model: nn.Module) -> list[str]:
    """Return the Python modules of the user whose classes a model contains; a checkpoint needs --trust for them."""
    homes = {type(part).__module__ for part in model.modules()}
    return sorted(home for home in homes if not within(home, LIBRARIES))


def closing_message(trainer: Trainer, modules: Sequence[str] = ()) -> str:
    """Return the checkpoints of a training with figure and epoch, and the command that tests the best of them.

    Args:
        trainer: the trainer at the end of `fit`.
        modules: Python modules of the user that the checkpoints name.
    """
    kept = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    best = [
        (c.best_model_path, f", {c.monitor} {float(c.best_model_score):.4g}")
        for c in kept
        if c.monitor and c.best_model_path and c.best_model_score is not None
    ]
    last = [(path, "") for c in kept for path in (c.last_model_path, "" if c.monitor else c.best_model_path) if path]
    lines = [f"trained to epoch {trainer.current_epoch}, step {trainer.global_step}"]
    for kind, found in (("best", best), ("last", last)):
        lines += [f"  {kind}: {path} ({saved_at(path)}{figure})" for path, figure in found]
    if not validates(trainer):
        lines.append("  no validation, so the best epoch is unknown")
    if best or last:
        trust = "".join(f" --trust {module}" for module in modules)
        lines.append(f"test it: python -m depthclip test --ckpt_path {shlex.quote((best or last)[0][0])}{trust}")
    else:
        lines.append("  no checkpoint was kept")
    return "\n".join(lines)


def saved_at(path: str) -> str:
    """Return the epoch, counted from 1, and the step of a checkpoint."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return f"epoch {checkpoint['epoch'] + 1}, step {checkpoint['global_step']}"
