"""The numbers of the released code (tests/golden), which do not depend on pretrained weights."""

import json

import numpy as np
import pytest
import torch

from depthclip import Bins, DepthCLIP, DepthHead, FrozenCLIP, Prompts
from depthclip.evaluation.measures import ScoredImage
from depthclip.evaluation.metrics import DepthErrors, depth_errors
from depthclip.protocol import SCORINGS, VIEWS, Box, View
from tests.conftest import GOLDEN
from tests.golden import inputs

MODEL = json.loads((GOLDEN / "released_model.json").read_text())
METRICS = json.loads((GOLDEN / "released_metrics.json").read_text())
NAMES = {"a1": "delta1", "a2": "delta2", "a3": "delta3"}


@pytest.fixture(scope="module")
def released(golden_weights):
    """Return the released model with the golden weights."""
    encoder = FrozenCLIP("RN50-quickgelu", str(golden_weights), "released", normalization="imagenet")
    return DepthCLIP(encoder, DepthHead(Prompts("depthclip"), Bins("depthclip"), temperature=0.1, logit_scale=100))


def test_words_and_bins_are_those_of_the_released_code(released):
    assert list(released.head.prompts.words) == MODEL["words"]
    assert released.head.bins.values.tolist() == MODEL["bins"]
    assert list(released.head.prompts.templates) == [MODEL["template"]]


def test_text_features(released):
    text = released.head.prompts(released.encoder.text)
    np.testing.assert_allclose(text[:, :8], MODEL["text_first_8"], atol=1e-5)


@pytest.mark.parametrize("k", [0, 1])
def test_coarse_depth_and_upsampling(released, k):
    expected = MODEL["images"][k]
    image = inputs.image(MODEL["image_seeds"][k])[None].float() / 255
    with torch.no_grad():
        plain = released.coarse(image, View())[0].depth
        coarse = released.coarse(image, View(mirror=True))[0].depth
    np.testing.assert_allclose(plain[0, 0], expected["noflip"], atol=1e-4)
    np.testing.assert_allclose(coarse[0, 0], expected["grid"], atol=1e-4)
    full = VIEWS["depthclip_nyu"].upsample(coarse, (416, 544))[0, 0]
    np.testing.assert_allclose(full[::52, ::68], expected["full_probe"], atol=1e-4)
    assert full.mean().item() == pytest.approx(expected["full_mean"], abs=1e-4)


def test_nyu_errors_of_the_released_evaluation():
    arrays = inputs.metric_inputs(METRICS["seed"])
    truth, depth = torch.from_numpy(arrays["nyu_truth"]), torch.from_numpy(arrays["nyu_prediction"])
    errors = DepthErrors(["p"])
    prediction, target = SCORINGS["depthclip_nyu"].select(depth[None], truth, Box(56, 60, 472, 604))
    errors.score(ScoredImage(prediction, target, torch.ones(1, len(target), dtype=torch.bool)), index=0)
    figures = errors.result().figures()["p"]
    for name, value in METRICS["nyu"].items():
        if name != "abs_diff":
            assert figures[NAMES.get(name, name)] == pytest.approx(value, rel=1e-4), name


def test_kitti_errors_of_the_released_evaluation():
    arrays = inputs.metric_inputs(METRICS["seed"])
    truth, depth = torch.from_numpy(arrays["kitti_truth"]), torch.from_numpy(arrays["kitti_prediction"])
    p, g = SCORINGS["garg_kitti"].select(depth[None], truth, Box(0, 0, *truth.shape))
    names = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3")
    figures = dict(zip(names, depth_errors(p, g)[0].tolist(), strict=True))
    for name, value in METRICS["kitti"].items():
        if name != "abs_diff":
            assert figures[NAMES.get(name, name)] == pytest.approx(value, rel=1e-4), name
