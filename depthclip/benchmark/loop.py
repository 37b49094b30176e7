"""The test loop of the Trainer with its times."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from depthclip.data.module import DepthDataModule
from depthclip.module import DepthCLIP


@dataclass(frozen=True)
class Runtime:
    """Where and how a model runs.

    Args:
        device: `cpu` or `cuda`.
        precision: precision of the Trainer: `32-true`, `bf16-mixed` or `16-mixed`.
    """

    device: torch.device
    precision: str = "32-true"

    def context(self) -> torch.autocast:
        """Return the context in which the Trainer runs a step with this precision."""
        kind = torch.float16 if self.precision == "16-mixed" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=self.precision != "32-true")


class Stopwatch(Callback):
    """Record when a test starts, when its figures are computed, and when it ends."""

    def __init__(self) -> None:
        self.started = self.computed = self.ended = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record the start."""
        self.started = time.perf_counter()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the time after the last batch."""
        self.computed = time.perf_counter()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the end."""
        self.ended = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The seconds of the loop: reading, all steps, and the figures."""
        return self.ended - self.started

    @property
    def logging(self) -> float:
        """The seconds of the figures: gathering the errors of all images, means, and logging."""
        return self.ended - self.computed


def test_loop(model: DepthCLIP, data: DepthDataModule, runtime: Runtime, batches: int) -> Stopwatch:
    """Run `test` on the first batches of a data module, and return its times.

    Args:
        model: the model, which stays on the device.
        data: the data module.
        runtime: device and precision.
        batches: largest number of batches.
    """
    off: Any = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary", "enable_progress_bar"), False)
    watch = Stopwatch()
    precision: Any = runtime.precision
    trainer = Trainer(
        accelerator=runtime.device.type,
        devices=1,
        precision=precision,
        limit_test_batches=batches,
        callbacks=[watch],
        **off,
    )
    trainer.test(model, datamodule=data, verbose=False)
    model.to(runtime.device)  # the trainer moves it to the CPU
    return watch
