"""Scoring on an accelerator: its operations are counted on the CPU, and its figures compared with those of the CPU."""

import time
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from depthclip import Bins, DepthCLIP, DepthHead, FrozenCLIP, Prompts
from depthclip.data.batches import Batch, Item
from depthclip.depth_maps import BatchDepth
from depthclip.errors import InputError
from depthclip.evaluation import evaluation as scoring_module
from depthclip.evaluation.baselines import Baseline, fit_baselines
from depthclip.evaluation.evaluation import Evaluation, check_outcome
from depthclip.head import depth_head as head_module
from depthclip.head.interfaces import Coarse
from depthclip.protocol import Box, Scoring, View

SYNCHRONIZING = ("nonzero", "_local_scalar_dense", "index.Tensor", "masked_select", "item")
PROTOCOLS = {
    "plain": (Scoring(), (60, 80), Box(0, 0, 60, 80)),
    "crop": (Scoring(crop=(4, 4, 50, 70)), (48, 64), Box(0, 0, 60, 80)),
    "seen": (Scoring(crop="garg", max_depth=80, crop_of="seen"), (48, 64), Box(6, 2, 58, 78)),
    "no cap": (Scoring(max_depth=None, crop="eigen", resample="nearest"), (48, 64), Box(3, 0, 60, 80)),
    "clamp": (Scoring(clamp=(2.0, 5.0)), (60, 80), Box(0, 0, 60, 80)),
}


class Operations(TorchDispatchMode):
    """Count the operations that torch dispatches."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def accelerated(monkeypatch):
    """Take the accelerator's path on the CPU."""
    for module in (scoring_module, head_module):
        monkeypatch.setattr(module, "is_accelerator", lambda device: True)


def targets():
    """Return ground truths: random, with holes, with a single valid pixel, and empty."""
    random = torch.rand(60, 80, generator=torch.Generator().manual_seed(0)) * 11
    holes, single = random.clone(), torch.zeros(60, 80)
    holes[10:40, 20:60] = 0
    single[30, 40] = 3.0
    return [random, holes, single, torch.zeros(60, 80)]


def evaluate(protocol, heads, together=False):
    """Return the outcome of heads on all targets, and the operations of the last image.

    torch rounds the upsampling of several maps and of a single map differently on the CPU, by up to 1e-7; `together`
    upsamples them at once on both paths, which leaves the scoring to be compared.
    """
    scoring, size, seen = PROTOCOLS[protocol]
    generator = torch.Generator().manual_seed(1)
    outputs = [Coarse(torch.rand(4, 1, 5, 6, generator=generator) * 9 + 0.5) for _ in range(heads)]
    depths = BatchDepth(outputs, View(), size)
    names = tuple(f"head {k}" for k in range(heads))
    evaluation = Evaluation(names, fit_baselines([targets()[0]]), torch.device("cpu"))
    for k, target in enumerate(targets()):
        item = Item(k, torch.zeros(3, *size), target, seen, f"image {k}", "")
        with Operations() as operations:
            evaluation.add(item, depths.image(k).stack() if together else depths.image(k), scoring)
    return evaluation.outcome(), operations.count


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_accelerator_scores_any_number_of_heads_in_sixty_operations(accelerated, protocol):
    single, many = (evaluate(protocol, heads)[1] for heads in (1, 50))
    assert single == many
    assert many.total() <= 60, many
    assert not [name for name in many if any(each in name for each in SYNCHRONIZING)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_accelerator_finds_the_figures_of_the_cpu(protocol, monkeypatch):
    expected = evaluate(protocol, 3, together=True)[0]
    monkeypatch.setattr(scoring_module, "is_accelerator", lambda device: True)
    found = evaluate(protocol, 3, together=True)[0]
    assert found.result.pixels.tolist() == expected.result.pixels.tolist()
    assert found.result.pixels[-1] == 0
    # the square root in silog of a single pixel magnifies the rounding of zero
    np.testing.assert_allclose(found.result.errors, expected.result.errors, rtol=1e-9, atol=1e-12)
    for name, value in expected.best_constant.items():
        assert found.best_constant[name] == pytest.approx(value, rel=1e-7), name


@pytest.mark.parametrize("protocol", ["plain", "crop"])
def test_a_depth_that_is_not_finite_is_found_at_the_end(accelerated, protocol):
    scoring, size, seen = PROTOCOLS[protocol]
    good, bad = torch.ones(1, 1, 5, 6), torch.ones(1, 1, 5, 6)
    bad[0, 0, 0, 0] = torch.inf
    evaluation = Evaluation(("good", "bad"), None, torch.device("cpu"))
    item = Item(0, torch.zeros(3, *size), targets()[0], seen, "kitchen", "")
    evaluation.add(item, BatchDepth([Coarse(good), Coarse(bad)], View(), size).image(0), scoring)
    with pytest.raises(InputError, match="'bad' of kitchen is not finite"):
        check_outcome(evaluation.outcome(), scoring)


class Target(Baseline):
    """A baseline whose depth is on the device of the image."""

    name = "target"

    def predict(self, item):
        return item.target * 1.1


def module(heads, device="cpu"):
    """Return a model of random weights that is ready to score, and a batch of two images."""
    encoder = FrozenCLIP("RN50", None, "attention_pool")
    variants = {f"temperature {k}": DepthHead(Prompts(), Bins(), k) for k in range(1, heads)}
    model = DepthCLIP(encoder, DepthHead(Prompts(), Bins()), variants, baselines=[Target()], panels=0).eval().to(device)
    model.evaluation = Evaluation(model.names, None, torch.device(device), rivals=["target"])
    size = (416, 544) if device == "cuda" else (64, 96)
    items = [Item(k, torch.rand(3, *size), torch.rand(size) * 9 + 0.5, Box(0, 0, *size), str(k), "") for k in (0, 1)]
    return model, Batch(items, [], View(mirror=True), Scoring()).to(device)


@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_a_test_step_reads_no_value_of_an_accelerator(accelerated):
    model, batch = module(3)
    with torch.inference_mode():
        model.test_step(batch, 0)  # reads the scale of the similarities, once
        with Operations() as operations:
            model.test_step(batch, 0)
    assert not [name for name in operations.count if any(each in name for each in SYNCHRONIZING)]


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_a_test_step_does_not_wait_for_a_gpu():
    model, batch = module(3, "cuda")
    with torch.inference_mode():
        model.test_step(batch, 0)  # allocates and chooses kernels
        torch.cuda.set_sync_debug_mode("error")
        try:
            model.test_step(batch, 0)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.filterwarnings("ignore:pretrained is null")
def test_fifty_heads_cost_little_more_than_one_on_a_gpu():
    seconds = {}
    for heads in (1, 50):
        model, batch = module(heads, "cuda")
        batch.items[:] = batch.items * 16
        with torch.inference_mode():
            for _ in range(6):
                torch.cuda.synchronize()
                start = time.perf_counter()
                model.test_step(batch, 0)
                torch.cuda.synchronize()
                seconds.setdefault(heads, []).append(time.perf_counter() - start)
    assert np.median(seconds[50][1:]) < 1.2 * np.median(seconds[1][1:])
