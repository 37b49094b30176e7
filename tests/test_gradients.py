"""The first gradient of two CPU processes against that of a single process with the same global batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

PROGRAM = """
import sys

import torch
from pytorch_lightning import Callback, Trainer

from depthclip import DepthCLIP, DepthHead
from depthclip.data import Loading, Rooms
from depthclip.head import LearnedBins, LearnedWords
from tests.conftest import frozen, register


class KeepGradients(Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.is_global_zero:
            torch.save({name: p.grad for name, p in pl_module.head.named_parameters()}, sys.argv[2])


register()
devices = int(sys.argv[1])
model = DepthCLIP(frozen("small-vit", "tokens"), DepthHead(LearnedWords(5), LearnedBins([1, 2, 3, 4, 6])))
quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
once = dict(accelerator="cpu", devices=devices, max_steps=1, limit_val_batches=0)
trainer = Trainer(**once, **quiet, callbacks=[KeepGradients()])
trainer.fit(model, Rooms(train_size=4, view="whole", loading=Loading(batch_size=4 // devices)))
"""


@pytest.mark.slow
def test_two_processes_have_the_first_gradient_of_a_single_process(tmp_path):
    (tmp_path / "learn.py").write_text(PROGRAM)
    root = str(Path(__file__).parent.parent)
    gradients = []
    for devices in ("1", "2"):
        path = tmp_path / f"{devices}.pt"
        command = [sys.executable, str(tmp_path / "learn.py"), devices, str(path)]
        environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert result.returncode == 0, result.stderr
        gradients.append(torch.load(path, weights_only=True))
    assert set(gradients[0]) == {"prompts.tokens", "bins.gaps"}
    for name, gradient in gradients[0].items():
        scale = gradient.abs().max()
        assert scale > 0
        assert (gradients[1][name] - gradient).abs().max() < 1e-4 * scale
