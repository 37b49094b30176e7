"""The optimizer and the learning-rate schedule of `fit`."""

import math
import warnings
from typing import Any, Literal

from pytorch_lightning import Trainer
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from depthclip.checks import check_number
from depthclip.errors import InputError


class Optimization:
    """AdamW with one cycle of the learning rate; a subclass overrides `optimizer`, `schedule`, or both.

    A subclass whose schedule advances once per epoch sets `interval = "epoch"`.

    Args:
        div_factor: ratio of the largest learning rate to the first.
        final_div_factor: ratio of the first learning rate to the last.

    Raises:
        InputError: if a factor is not a positive number.
    """

    interval: Literal["step", "epoch"] = "step"
    monitor = "val/abs_rel"  # the metric for ReduceLROnPlateau

    def __init__(self, div_factor: float = 25.0, final_div_factor: float = 1e4) -> None:
        check_number("div_factor", div_factor, above=0)
        check_number("final_div_factor", final_div_factor, above=0)
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor

    def optimizer(self, groups: list[dict[str, Any]], learning_rate: float) -> Optimizer:
        """Return the optimizer.

        Args:
            groups: parameter groups with their `weight_decay`, which is 0 for bins and temperatures.
            learning_rate: argument `learning_rate` of the model.
        """
        return AdamW(groups, lr=learning_rate)

    def schedule(self, optimizer: Optimizer, learning_rate: float, steps: int) -> LRScheduler:
        """Return the schedule of the learning rate.

        Args:
            optimizer: result of `optimizer`.
            learning_rate: argument `learning_rate` of the model, the peak of the cycle.
            steps: number of optimizer steps of the whole training.
        """
        return OneCycleLR(
            optimizer,
            learning_rate,
            total_steps=steps,
            div_factor=self.div_factor,
            final_div_factor=self.final_div_factor,
        )

    def stretched(self, schedule: LRScheduler, learning_rate: float, trainer: Trainer) -> LRScheduler:
        """Return the schedule of a resumed training, which may have another number of steps than its checkpoint.

        Args:
            schedule: schedule of the checkpoint.
            learning_rate: the model's argument of that name.
            trainer: trainer of the resumed training.
        """
        steps, done = training_steps(trainer), trainer.global_step
        if not isinstance(schedule, OneCycleLR) or schedule.total_steps == steps:
            return schedule
        if trainer.is_global_zero:
            print(
                f"the learning-rate schedule of the checkpoint has {schedule.total_steps} steps; it is stretched to "
                f"{steps} and continues from step {done}"
            )
        new = self.schedule(schedule.optimizer, learning_rate, steps)
        advance(new, done)
        return new


def parameter_groups(head: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters of a head: matrices with weight decay, vectors and scalars without.

    Args:
        head: head with trainable parameters.
        weight_decay: weight decay of the matrices, at least 0.

    Raises:
        InputError: if the head learns nothing.
    """
    learned = [parameter for parameter in head.parameters() if parameter.requires_grad]
    if not learned:
        raise InputError(
            "there is nothing to train: CLIP is frozen and the head is fixed; set head.prompts to LearnedWords or "
            "LearnedContext, head.bins to LearnedBins, or head.learn_temperature: true"
        )
    # weight decay pulls towards 0, which has no meaning for gaps between bins or the logarithm of a temperature
    matrices = {"params": [p for p in learned if p.ndim > 1], "weight_decay": weight_decay}
    vectors = {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0}
    return [group for group in (matrices, vectors) if group["params"]]


def training_steps(trainer: Trainer) -> int:
    """Return the number of optimizer steps of the whole training.

    Raises:
        InputError: if the training has no end.
    """
    steps = trainer.estimated_stepping_batches
    if math.isinf(steps):
        raise InputError(
            f"trainer.max_epochs {trainer.max_epochs} has no end, but the learning-rate schedule needs an end; set "
            "trainer.max_epochs or trainer.max_steps to a positive number"
        )
    return int(steps)


def check_not_diverged(head: nn.Module, when: str, learning_rate: float) -> None:
    """Raise if training has diverged.

    Args:
        head: head in training.
        when: time of the check, for the message, such as `epoch 3`.
        learning_rate: learning rate, for the message.

    Raises:
        InputError: if a trainable parameter is not finite.
    """
    for name, parameter in head.named_parameters():
        if parameter.requires_grad and not parameter.isfinite().all():
            raise InputError(
                f"the training has diverged: head.{name} is not finite after {when}; set learning_rate "
                f"{learning_rate:g} to a smaller number, or trainer.gradient_clip_val"
            )


def advance(schedule: LRScheduler, steps: int) -> None:
    """Advance a new schedule by a number of steps, and set the learning rates of its optimizer accordingly."""
    schedule.load_state_dict({**schedule.state_dict(), "last_epoch": steps - 1})
    with warnings.catch_warnings():
        # torch warns that the optimizer has not stepped; it has, in the run that wrote the checkpoint
        warnings.simplefilter("ignore")
        schedule.step()
