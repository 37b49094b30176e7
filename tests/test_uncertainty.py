"""Uncertainty: the spread and entropy of a head, and the measures of them, against NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from depthclip import Bins, DepthCLIP, DepthHead, Prompts
from depthclip.errors import InputError
from depthclip.evaluation.measures import ScoredImage
from depthclip.evaluation.uncertainty import Coverage, NegativeLogLikelihood, Sparsification
from depthclip.head import Head
from depthclip.head.interfaces import Coarse
from depthclip.protocol import View
from depthclip.stitching import mean_of_mirrored
from depthclip.uncertainty import spread_maps

BINS = [1.0, 2.0, 4.0, 7.0]


def photo(seed=0, size=(70, 90)):
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)


def scored(prediction, target, spread):
    rows = [torch.as_tensor(x, dtype=torch.float32).reshape(-1, np.size(target)) for x in (prediction, spread)]
    target = torch.as_tensor(target, dtype=torch.float32)
    return ScoredImage(rows[0], target, torch.ones(1, len(target), dtype=torch.bool), None, rows[1])


def softmax(logits):
    exponential = np.exp(logits - logits.max(1, keepdims=True))
    return exponential / exponential.sum(1, keepdims=True)


# ---- maps of a head


@pytest.mark.parametrize("each", [False, True])
def test_spread_and_entropy_are_those_of_the_softmax(each):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (2, 4, 5, 6))
    bins = np.sort(rng.uniform(1, 9, (2, 4) if each else (4,)))
    coarse = Coarse(torch.ones(2, 1, 5, 6), torch.tensor(logits), torch.tensor(bins))
    for k in range(2):
        values = bins[k] if each else bins
        for y, x in np.ndindex(5, 6):
            weights = softmax(logits)[k, :, y, x]
            spread = np.sqrt(np.average((values - np.average(values, weights=weights)) ** 2, weights=weights))
            assert coarse.spread[k, 0, y, x].item() == pytest.approx(spread, rel=1e-4)
            assert coarse.entropy[k, 0, y, x].item() == pytest.approx(stats.entropy(weights), rel=1e-4)


def test_the_spread_of_both_views_is_that_of_their_mixture():
    rng = np.random.default_rng(1)
    logits, bins = rng.normal(0, 2, (2, 4, 3, 5)), np.array(BINS)
    weights = softmax(logits)
    depth = np.einsum("bkhw,k->bhw", weights, bins)[:, None]
    found = mean_of_mirrored(Coarse(torch.tensor(depth), torch.tensor(logits), torch.tensor(bins)))
    mixture = (weights[0] + weights[1][..., ::-1]) / 2
    mean = np.einsum("khw,k->hw", mixture, bins)
    spread = np.sqrt(np.einsum("khw,khw->hw", mixture, (bins[:, None, None] - mean) ** 2))
    np.testing.assert_allclose(found.depth[0, 0], mean, rtol=1e-6)
    np.testing.assert_allclose(found.spread[0, 0], spread, rtol=1e-4)
    np.testing.assert_allclose(found.entropy[0, 0], stats.entropy(mixture, axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.disagreement[0, 0], abs(depth[0, 0] - depth[1, 0, :, ::-1]) / 2, rtol=1e-6)
    np.testing.assert_allclose(found.weights[0], weights[0], rtol=1e-6)


class Sure(Head):
    """A head without words that estimates its standard deviation: 0.5 m at the left, 1 m at the right."""

    def forward(self, features, text):
        depth = features.dense.new_full((len(features.dense), 1, 2, 2), 4.0)
        return Coarse(depth, deviation=torch.tensor([0.5, 1.0]).expand_as(depth))


class Silent(Head):
    """A head with neither words nor a standard deviation."""

    def forward(self, features, text):
        return Coarse(features.dense.new_full((len(features.dense), 1, 2, 2), 4.0))


def test_a_head_may_estimate_its_spread(clip):
    found = DepthCLIP(clip("small-vit", "tokens"), Sure(), mirror=False).infer(photo(), uncertainty=True)
    assert found.spread[0, 0] == 0.5
    assert found.spread[0, -1] == 1
    assert found.entropy is None
    assert found.disagreement is None
    mirrored = DepthCLIP(clip("small-vit", "tokens"), Sure()).infer(photo(), uncertainty=True)
    np.testing.assert_allclose(mirrored.spread, np.sqrt((0.25 + 1) / 2), rtol=1e-6)
    assert not mirrored.disagreement.any()
    windows = DepthCLIP(clip("small-vit", "tokens"), Sure(), mirror=False)
    found = windows.infer(photo(), window=(64, 64), uncertainty=True)
    assert 0.5 <= found.spread.min() < found.spread.max() <= 1


def test_infer_returns_maps_of_the_photograph_on_request(clip):
    model = DepthCLIP(clip("small-vit", "tokens"), DepthHead(Prompts(["near", "far"]), Bins([1, 5]), logit_scale=5))
    found = model.infer(photo(), uncertainty=True)
    np.testing.assert_array_equal(found.depth, model.infer(photo()))
    for each in (found.depth, found.spread, found.entropy, found.disagreement):
        assert (each.shape, each.dtype) == ((70, 90), np.float32)
    assert 0 < found.entropy.max() <= np.log(2) + 1e-6
    assert 0 < found.spread.max() <= 2 + 1e-6  # half the distance of both bins
    assert (found.low, found.high) == (None, None)
    flipped = model.infer(np.ascontiguousarray(photo()[:, ::-1]), uncertainty=True)
    for one, other in zip(found[:4], flipped[:4], strict=True):
        np.testing.assert_allclose(one, other[:, ::-1], atol=1e-4)
    silent = DepthCLIP(clip("small-vit", "tokens"), Silent(), mirror=False).infer(photo(), uncertainty=True)
    assert silent[1:] == (None,) * 5


def test_heads_without_spread_have_nan():
    coarse = Coarse(torch.ones(1, 1, 2, 2)), Coarse(torch.ones(1, 1, 2, 2), deviation=torch.full((1, 1, 2, 2), 0.3))
    maps = spread_maps(coarse, View(), (6, 8))
    assert maps[0].isnan().all()
    torch.testing.assert_close(maps[1], torch.full((6, 8), 0.3))


# ---- measures


def test_errors_drawn_from_the_spread_have_nominal_coverage():
    rng = np.random.default_rng(2)
    target = rng.uniform(3, 9, 100_000)
    spread = rng.uniform(0.05, 0.6, target.shape)
    image = scored(target + spread * rng.normal(size=target.shape), target, spread)
    levels = (0.5, 0.68, 0.9, 0.99)
    measure = Coverage(levels)
    assert measure.names == ("coverage_0.5", "coverage_0.68", "coverage_0.9", "coverage_0.99")
    np.testing.assert_allclose(measure.of(image)[0], levels, atol=0.02)
    # the expectation of the negative log likelihood is the entropy of the Gaussian
    expected = stats.norm(scale=spread).entropy().mean()
    assert NegativeLogLikelihood(1e-3).of(image).item() == pytest.approx(expected, abs=0.01)


def test_likelihood_is_that_of_scipy_with_a_floor():
    rng = np.random.default_rng(3)
    target, prediction, spread = rng.uniform(1, 9, (3, 500))
    spread[:100] = 0
    expected = -stats.norm(prediction, np.maximum(spread, 0.2)).logpdf(target).mean()
    found = NegativeLogLikelihood(0.2).of(scored(prediction, target, spread))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def ause(pixels, key, steps, root):
    """The area between the curves of the definition, pixel by pixel."""
    n, curves = len(pixels), []
    for order in (np.argsort(-key, kind="stable"), np.argsort(-pixels, kind="stable")):
        curve = [pixels[order][n - round(n * (1 - k / steps)) :].mean() for k in range(steps)]
        curves.append(np.append(np.sqrt(curve) if root else curve, 0))
    return integrate.trapezoid(curves[0] - curves[1], dx=1 / steps)


@pytest.mark.parametrize("steps", [20, 50])
def test_ause_is_the_area_of_its_definition(steps):
    rng = np.random.default_rng(4)
    target = rng.uniform(1, 9, 1000)
    spread = rng.uniform(0.1, 2, target.shape)
    prediction = target + spread * rng.normal(size=target.shape)
    measure = Sparsification(steps=steps)
    assert measure.names == ("ause_abs_rel", "ause_rmse")
    found = measure.of(scored(prediction, target, spread))[0]
    error = abs(prediction - target)
    expected = [ause(error / target, spread, steps, False), ause(error**2, spread, steps, True)]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert min(expected) > 0.01


def test_a_spread_that_orders_the_errors_has_no_ause_and_a_constant_one_that_of_random_order():
    rng = np.random.default_rng(5)
    target = rng.uniform(1, 9, 2000)
    prediction = target + rng.normal(size=target.shape)
    error = abs(prediction - target)
    found = [
        Sparsification([name]).of(scored(prediction, target, key)).item()
        for name, key in (("rmse", 3 * error**0.5), ("abs_rel", error / target))
    ]
    np.testing.assert_allclose(found, 0, atol=1e-5)
    error.sort()  # sorted rows would be removed in order if ties were not averaged
    constant = Sparsification(["rmse"]).of(scored(target + error, target, np.ones_like(target))).item()
    shuffled = [ause(error**2, rng.uniform(size=error.shape), 20, True) for _ in range(20)]
    assert constant == pytest.approx(np.mean(shuffled), rel=0.02)


@pytest.mark.parametrize("measure", [Sparsification(), Coverage(), NegativeLogLikelihood()])
def test_predictions_without_spread_have_no_figures(measure):
    nan = np.full(4, np.nan)
    found = measure.of(scored(np.ones((2, 4)), np.arange(1, 5), np.stack([nan, np.ones(4)])))
    assert found.shape == (2, len(measure.names))
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Coverage([1.5]), "levels.*1.5"),
        (lambda: Coverage([0.9, 0.9]), "levels.*0.9"),
        (lambda: Sparsification(["mae"]), "errors.*'mae'.*abs_rel, rmse"),
        (lambda: Sparsification(steps=1), "steps 1"),
        (lambda: NegativeLogLikelihood(0.0), "floor 0.0"),
    ],
)
def test_arguments_out_of_range(build, words):
    with pytest.raises(InputError, match=words):
        build()
