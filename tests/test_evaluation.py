"""Errors and baselines against their definitions in NumPy."""

import math

import numpy as np
import pytest
import torch

from depthclip.data.batches import Item, Unreadable
from depthclip.errors import InputError
from depthclip.evaluation import evaluation as evaluation_module
from depthclip.evaluation.baselines import Baseline, fit_baselines, predictions_of, random_depth
from depthclip.evaluation.best_constant import BestConstant
from depthclip.evaluation.evaluation import Evaluation, check_outcome
from depthclip.evaluation.measures import Measure, ScoredImage
from depthclip.evaluation.metrics import ERRORS, UNREADABLE, DepthErrors, depth_errors
from depthclip.protocol import Box, Scoring, scoring_of
from depthclip.protocol.presets import SCORINGS


def by_numpy(p, g):
    """Return the nine errors by their definitions."""
    p, g = p.astype(np.float64), g.astype(np.float64)
    d, ratio = np.log(p) - np.log(g), np.maximum(p / g, g / p)
    return [
        np.mean(np.abs(p - g) / g),
        np.mean((p - g) ** 2 / g),
        np.sqrt(np.mean((p - g) ** 2)),
        np.sqrt(np.mean(d**2)),
        np.mean(np.abs(np.log10(p) - np.log10(g))),
        100 * np.sqrt(np.mean(d**2) - np.mean(d) ** 2),
        *(np.mean(ratio < 1.25**i) for i in (1, 2, 3)),
    ]


def random_pair(seed, size=(40, 50)):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 9, size).astype(np.float32), rng.uniform(0, 12, size).astype(np.float32)


def scored(prediction, target):
    """Return predictions (V, N) and a target (N,) as a row of pixels that all count."""
    return ScoredImage(prediction, target, torch.ones(1, len(target), dtype=torch.bool))


def test_errors_are_their_definitions():
    p, g = random_pair(0)
    found = depth_errors(torch.from_numpy(p.reshape(1, -1)), torch.from_numpy(g.ravel() + 0.1))
    np.testing.assert_allclose(found[0], by_numpy(p.ravel(), g.ravel() + 0.1), rtol=1e-5)


def test_delta_is_strict():
    p, g = torch.tensor([[1.25, 1.0]]), torch.tensor([1.0, 1.0])
    assert depth_errors(p, g)[0, ERRORS.index("delta1")] == 0.5


def test_many_images_are_kept_in_few_tensors():
    errors, images = DepthErrors(["a"]), 1300
    depths = np.random.default_rng(0).uniform(1, 2, images).astype(np.float32)
    for index in np.random.default_rng(1).permutation(images).tolist():
        errors.score(scored(torch.tensor([[depths[index]]]), torch.ones(1)), index)
    assert len(errors.rows) < images / 2
    result = errors.result()
    assert result.index.tolist() == [*range(images)]
    np.testing.assert_allclose(result.errors[:, 0, 0], depths - 1, rtol=1e-6)


def test_the_best_constant_of_many_images_keeps_few_tensors():
    depths = np.random.default_rng(0).uniform(1, 9, (1300, 3)).astype(np.float32)
    best = BestConstant(count=50)
    for target in depths:
        best.update(torch.from_numpy(target))
    assert len(best.moments) < len(depths) / 2
    constants = np.logspace(-1, 2, 50)[:, None, None]
    rmse = np.sqrt(((constants - depths) ** 2).mean(2)).mean(1)
    found = best.compute()
    np.testing.assert_allclose(found["abs_rel"], (abs(constants - depths) / depths).mean((1, 2)).min(), rtol=1e-6)
    np.testing.assert_allclose(found["rmse"], rmse.min(), rtol=1e-6)


def test_images_count_alike_whatever_their_pixels_and_empty_ones_are_counted():
    errors = DepthErrors(["a", "b"])
    pairs = [random_pair(k, (k + 3, 5)) for k in range(3)]
    for index, (p, g) in reversed(list(enumerate(pairs))):
        both = torch.stack([torch.from_numpy(p), torch.from_numpy(p) * 2]).flatten(1)
        errors.score(scored(both, torch.from_numpy(g).flatten() + 1), index)
    errors.score(scored(torch.ones(2, 0), torch.ones(0)), 3)
    errors.skip(4)
    result = errors.result()
    assert (result.images, result.skipped) == (3, 2)
    assert result.index[result.pixels == UNREADABLE].tolist() == [4]
    assert result.index.tolist() == [0, 1, 2, 3, 4]
    expected = np.mean([by_numpy(2 * p.ravel(), g.ravel() + 1) for p, g in pairs], axis=0)
    np.testing.assert_allclose(list(result.figures()["b"].values()), expected, rtol=1e-5)


def test_best_constant_is_the_best_of_its_grid():
    grid, random = np.logspace(-1, 2, 1400), np.random.default_rng(2)
    # depths of 16-bit files, any depths, depths at the constants and outside of all, a single pixel
    truths = [random.integers(500, 9000, 400) / 1000, random.uniform(0.3, 9, 300), grid[300:900:9], [0.02, 300, 2], [3]]
    truths = [np.asarray(truth, np.float32) for truth in truths]
    best = BestConstant()
    for truth in truths:
        best.update(torch.from_numpy(truth))
        best.update(torch.zeros(0))
    best.skip()
    errors = [[by_numpy(np.full(len(truth), c), truth.astype(np.float64)) for c in grid] for truth in truths]
    means = np.mean(errors, axis=0)
    expected = np.where([name.startswith("delta") for name in ERRORS], means.max(0), means.min(0))
    np.testing.assert_allclose(list(best.compute().values()), expected, rtol=1e-6)


def test_best_constant_beats_every_constant_of_a_coarse_grid():
    truths = [torch.from_numpy(random_pair(k)[1].ravel() + 0.5) for k in range(3)]
    best = BestConstant()
    for truth in truths:
        best.update(truth)
    best.update(torch.zeros(0))
    found = best.compute()
    for c in np.linspace(0.5, 12, 40):
        means = np.mean([by_numpy(np.full(len(t), c), t.numpy()) for t in truths], axis=0)
        for name, value in zip(ERRORS, means, strict=True):
            slack = 1.005  # the grid steps by half a percent
            assert found[name] * slack >= value if name.startswith("delta") else found[name] <= value * slack


def test_random_depth_is_seeded_uniform():
    depth = random_depth((200, 200), 10.0, index=3)
    torch.testing.assert_close(depth, random_depth((200, 200), 10.0, index=3))
    assert not torch.equal(depth, random_depth((200, 200), 10.0, index=4))
    assert (depth.mean().item(), depth.std().item()) == (
        pytest.approx(5, abs=0.1),
        pytest.approx(100**0.5 / 12**0.5, abs=0.1),
    )


def test_fitted_baselines_are_medians_of_valid_depths():
    maps = [
        torch.tensor([[1.0, 4.0], [0.0, 8.0]]),
        torch.tensor([[3.0, 4.0], [0.0, 0.0]]),
        torch.tensor([[2.0, 5.0], [0.0, 9.0]]),
    ]
    fitted = fit_baselines(maps, size=(2, 2))
    assert fitted.constant == 4.0  # of 1 2 3 4 4 5 8 9
    torch.testing.assert_close(fitted.median_map, torch.tensor([[2.0, 4.0], [4.0, 8.5]]))
    assert fitted.at((4, 6)).shape == (2, 4, 6)
    with pytest.raises(ValueError, match="no valid depth"):
        fit_baselines([torch.zeros(3, 3)])


def test_baselines_are_scored_on_the_pixels_of_the_model():
    scoring, seen = Scoring(crop=(1, 1, 9, 9)), Box(0, 0, 8, 10)
    truth = torch.rand(10, 10) + 1
    evaluation = Evaluation(("head",), fit_baselines([truth]), torch.device("cpu"))
    item = Item(0, torch.zeros(3, 8, 10), truth, seen, "room", "")
    evaluation.add(item, torch.full((1, 8, 10), 1.5), scoring)
    outcome = evaluation.outcome()
    assert outcome.result.names == ("head", "random", "training constant", "training median map")
    assert outcome.result.pixels.tolist() == [7 * 8]
    inner = truth[1:8, 1:9].numpy().ravel()
    constant = np.full(56, np.median(truth.numpy()), np.float32)
    figures = outcome.result.figures()
    assert figures["head"]["rmse"] == pytest.approx(by_numpy(np.full(56, 1.5), inner)[2], rel=1e-5)
    assert figures["training constant"]["abs_rel"] == pytest.approx(by_numpy(constant, inner)[0], rel=2e-2)


def outcome_of(depth, truth, *, unreadable=(), min_depth=1e-3):
    evaluation = Evaluation(("head", "mine"), None, torch.device("cpu"))
    for index in (3, 5):
        if index in unreadable:
            evaluation.skip([Unreadable(index, "broken", f"image {index}", "")])
        else:
            image, target = torch.zeros(3, 4, 5), torch.full((4, 5), truth)
            item = Item(index, image, target, Box(0, 0, 4, 5), f"image {index}", "kitchen")
            evaluation.add(item, torch.full((2, 4, 5), depth), Scoring(min_depth=min_depth))
    return evaluation.outcome()


def test_names_and_scenes_travel_with_the_result():
    outcome = outcome_of(1.0, 2.0, unreadable=[5])
    assert (outcome.images, outcome.scenes, outcome.unreadable) == (
        ("image 3", "image 5"),
        ("kitchen", ""),
        ["image 5"],
    )


def test_an_evaluation_without_figures_is_refused():
    scoring = Scoring()
    check_outcome(outcome_of(1.0, 2.0), scoring)
    check_outcome(outcome_of(1.0, 2.0, unreadable=[3]), scoring)
    with pytest.raises(InputError, match=r"no pixel of the 2 images counts.*0.001 to 10 m.*check the scale"):
        check_outcome(outcome_of(1.0, 2000.0), scoring)
    with pytest.raises(InputError, match="none of the 2 images could be read"):
        check_outcome(outcome_of(1.0, 2.0, unreadable=[3, 5]), scoring)
    with pytest.raises(InputError, match="'head' of image 3 is not finite; check its temperature"):
        check_outcome(outcome_of(float("nan"), 2.0), scoring)
    with pytest.raises(InputError, match=r"'head' of image 3 is not finite; check the map$"):
        check_outcome(outcome_of(float("nan"), 2.0), scoring, "check the map")


@pytest.mark.parametrize("parallel", [False, True])
def test_a_prediction_of_0_counts_as_a_micrometre_without_a_smallest_depth(monkeypatch, parallel):
    monkeypatch.setattr(evaluation_module, "is_accelerator", lambda device: parallel)
    outcome = outcome_of(0.0, 2.0, min_depth=0.0)
    check_outcome(outcome, Scoring(min_depth=0.0))
    figures = outcome.result.figures()["head"]
    assert figures["rmse_log"] == pytest.approx(14.508658, rel=1e-6)  # ln 2e6
    assert figures["log10"] == pytest.approx(6.30103, rel=1e-6)  # the logarithm of 2e6 to base 10
    assert outcome.result.errors.isfinite().all()


def test_the_smallest_depth_is_the_lowest_prediction_and_a_clamp_replaces_it():
    assert Scoring(min_depth=1e-9).limits == (1e-9, 10.0)
    assert Scoring(min_depth=0.0, clamp=(1e-3, 80.0)).limits == (1e-3, 80.0)
    assert {scoring_of(name).limits[0] for name in SCORINGS} == {1e-3}


class Returns(Baseline):
    """A baseline that returns a given value."""

    name = "mine"

    def __init__(self, depth):
        self.depth = depth

    def predict(self, item):
        return self.depth


def one_bad(value):
    depth = torch.ones(4, 5, dtype=torch.float64)
    depth[3, 4] = value
    return depth


@pytest.mark.parametrize(
    ("depth", "found"),
    [
        (np.ones((4, 5)), r"returned array\(.*\) for image 0; return a tensor \(h, w\)"),
        (None, r"returned None for image 0; return a tensor \(h, w\)"),
        (torch.ones(1, 4, 5), r"returned a tensor \(1, 4, 5\) of torch.float32 for image 0; return a tensor \(h, w\)"),
        (torch.ones(0, 5), r"returned a tensor \(0, 5\)"),
        (torch.ones(4, 5) * 1j, r"returned a tensor \(4, 5\) of torch.complex64"),
    ],
)
def test_a_wrong_depth_of_a_baseline_names_it_and_the_image(depth, found):
    item = Item(0, torch.zeros(3, 4, 5), torch.ones(4, 5), Box(0, 0, 4, 5), "image 0", "")
    with pytest.raises(InputError, match=f"baseline 'mine' {found}"):
        [*predictions_of([Returns(depth)], item)]


def test_whole_numbers_and_half_precision_are_depths_in_float32():
    item = Item(0, torch.zeros(3, 4, 5), torch.ones(4, 5), Box(0, 0, 4, 5), "image 0", "")
    for dtype in (torch.int32, torch.float16, torch.float64):
        (depth,) = predictions_of([Returns(torch.full((2, 3), 7, dtype=dtype))], item)
        assert (depth.dtype, depth.tolist()) == (torch.float32, [[[7.0] * 3] * 2])


def outcome_beside(depth, target):
    """Return the outcome of a baseline that returns a depth, beside a good baseline and a head."""
    evaluation = Evaluation(("head",), None, torch.device("cpu"), rivals=("good", "mine"))
    item = Item(0, torch.zeros(3, 4, 5), target, Box(0, 0, 4, 5), "image 0", "")
    rivals = [Returns(torch.ones(4, 5)), Returns(depth)]
    evaluation.add(item, torch.ones(1, 4, 5), Scoring(), predictions_of(rivals, item))
    return evaluation.outcome()


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])  # the last is infinite in float32
def test_a_baseline_that_is_not_finite_is_found_at_the_end(monkeypatch, parallel, value):
    monkeypatch.setattr(evaluation_module, "is_accelerator", lambda device: parallel)
    with pytest.raises(InputError, match="baseline 'mine' of image 0 is not finite; return finite metres"):
        check_outcome(outcome_beside(one_bad(value), torch.full((4, 5), 2.0)), Scoring())


@pytest.mark.parametrize("parallel", [False, True])
def test_a_baseline_may_be_nan_where_no_pixel_counts(monkeypatch, parallel):
    monkeypatch.setattr(evaluation_module, "is_accelerator", lambda device: parallel)
    target = torch.full((4, 5), 2.0)
    target[3, 4] = 0
    outcome = outcome_beside(one_bad(math.nan), target)
    check_outcome(outcome, Scoring())
    assert outcome.result.figures()["mine"]["abs_rel"] == 0.5


class Halves(Measure):
    names = ("left", "width in metres")

    def of(self, image):
        left = image.on_grid(image.prediction)[..., : image.mask.shape[1] // 2]
        metres = math.nan if image.focal is None else image.mask.shape[1] / image.focal
        return torch.stack([left.sum((1, 2)), torch.full((len(left),), metres)], 1)


def test_a_measure_sees_maps_and_the_focal_length_and_may_be_undefined():
    evaluation = Evaluation(("a",), None, torch.device("cpu"), baselines=False, measures=[Halves()])
    truth = torch.ones(4, 6)
    truth[0, 0] = 0
    for index, focal in enumerate((None, 20.0)):  # in pixels of the model's image, twice as wide as the truth
        item = Item(index, torch.zeros(3, 8, 12), truth, Box(0, 0, 4, 6), str(index), "", focal)
        evaluation.add(item, torch.full((1, 4, 6), 2.0), Scoring())
    figures = evaluation.outcome().result.figures()["a"]
    assert figures["left"] == 22.0
    assert figures["width in metres"] == pytest.approx(6 / 10)
