"""Optimizers and learning-rate schedules of `fit`, those of a user included."""

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelCheckpoint

from depthclip.errors import InputError
from depthclip.optimization import Optimization
from tests.test_module import fit_losses, rooms, seeded, trainer

# ---- longer and shorter


class Rates(Callback):
    """The learning rate of each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def one_cycle(steps, peak=0.05, **settings):
    """The learning rates of torch's schedule."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps, **settings)
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        if len(rates) < steps:
            schedule.step()
    return rates


@pytest.mark.parametrize(("before", "after"), [(1, 3), (2, 4)])
def test_training_longer_stretches_the_schedule(clip, tmp_path, capsys, before, after):
    keep = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    settings = {"max_epochs": before, "enable_checkpointing": True}
    fit_losses(seeded(clip), rooms(), tmp_path, callbacks=[keep], trainer=settings)
    rates = Rates()
    losses, _ = fit_losses(
        seeded(clip),
        rooms(),
        tmp_path,
        callbacks=[rates],
        trainer={"max_epochs": after},
        ckpt_path=tmp_path / f"epoch={before - 1}.ckpt",
        weights_only=True,
    )
    assert len(losses) == 3 * (after - before)
    assert rates.seen == pytest.approx(one_cycle(3 * after)[3 * before :])
    assert f"has {3 * before} steps; it is stretched to {3 * after}" in capsys.readouterr().out


def test_a_training_without_an_end_is_refused(clip, tmp_path):
    with pytest.raises(InputError, match="max_epochs -1 has no end"):
        trainer(tmp_path, max_epochs=-1).fit(seeded(clip), rooms())


# ---- optimizers


class Momentum(Optimization):
    """Plain SGD that halves its rate each epoch."""

    interval = "epoch"

    def __init__(self, momentum: float = 0.5) -> None:
        super().__init__()
        self.momentum = momentum

    def optimizer(self, groups, learning_rate):
        return torch.optim.SGD(groups, lr=learning_rate, momentum=self.momentum)

    def schedule(self, optimizer, learning_rate, steps):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)


class Plateau(Momentum):
    """SGD whose rate falls when the validated error does not."""

    def schedule(self, optimizer, learning_rate, steps):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, threshold=10.0, patience=0, factor=0.1)


def test_the_default_is_adamw_with_one_cycle_and_no_decay_of_vectors(clip, tmp_path):
    rates = Rates()
    _, run = fit_losses(seeded(clip), rooms(), tmp_path, callbacks=[rates])
    assert type(run.optimizers[0]) is torch.optim.AdamW
    assert rates.seen == pytest.approx(one_cycle(6))
    decays = {p.ndim > 1: group["weight_decay"] for group in run.optimizers[0].param_groups for p in group["params"]}
    assert decays == {True: 0.1, False: 0.0}


def test_the_factors_of_the_cycle_are_arguments(clip, tmp_path):
    rates = Rates()
    model = seeded(clip, optimization=Optimization(div_factor=10, final_div_factor=100))
    fit_losses(model, rooms(), tmp_path, callbacks=[rates])
    assert rates.seen == pytest.approx(one_cycle(6, div_factor=10, final_div_factor=100))
    assert rates.seen[0] == pytest.approx(0.05 / 10)
    assert rates.seen[-1] == pytest.approx(0.05 / 10 / 100)


def test_an_optimizer_of_the_users(clip, tmp_path):
    rates = Rates()
    _, run = fit_losses(seeded(clip, optimization=Momentum(0.3)), rooms(), tmp_path, callbacks=[rates])
    assert type(run.optimizers[0]) is torch.optim.SGD
    assert {group["momentum"] for group in run.optimizers[0].param_groups} == {0.3}
    assert rates.seen == pytest.approx([0.05] * 3 + [0.025] * 3)


def test_a_schedule_that_watches_the_validation(clip, tmp_path):
    rates = Rates()
    model = seeded(clip, optimization=Plateau())
    fit_losses(model, rooms(), tmp_path, callbacks=[rates], trainer={"max_epochs": 3})
    assert rates.seen == pytest.approx([0.05] * 3 + [0.005] * 3 + [0.0005] * 3)
