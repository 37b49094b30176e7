"""Protocol, errors and baselines against NumPy written out."""

import numpy as np
import pytest
import torch
from PIL import Image

from depthclip.data.batches import Item, Unreadable
from depthclip.errors import InputError
from depthclip.evaluation.baselines import BestConstant, constant_errors, fit_baselines, random_depth
from depthclip.evaluation.evaluation import Evaluation, check_outcome
from depthclip.evaluation.metrics import ERRORS, UNREADABLE, DepthErrors, depth_errors
from depthclip.protocol import (
    SCORINGS,
    VIEWS,
    Box,
    Scoring,
    View,
    median,
    scoring_of,
    seen_in_truth,
    view_of,
)
from tests.layouts import SAMPLES


def by_numpy(p, g):
    """The definitions, written out."""
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


def test_errors_are_their_definitions():
    p, g = random_pair(0)
    found = depth_errors(torch.from_numpy(p.reshape(1, -1)), torch.from_numpy(g.ravel() + 0.1))
    np.testing.assert_allclose(found[0], by_numpy(p.ravel(), g.ravel() + 0.1), rtol=1e-5)


def test_delta_is_strict():
    p, g = torch.tensor([[1.25, 1.0]]), torch.tensor([1.0, 1.0])
    assert depth_errors(p, g)[0, ERRORS.index("delta1")] == 0.5


def test_images_count_alike_whatever_their_pixels_and_empty_ones_are_counted():
    errors = DepthErrors(["a", "b"])
    pairs = [random_pair(k, (k + 3, 5)) for k in range(3)]
    for index, (p, g) in reversed(list(enumerate(pairs))):
        both = torch.stack([torch.from_numpy(p), torch.from_numpy(p) * 2]).flatten(1)
        errors.update(both, torch.from_numpy(g).flatten() + 1, index)
    errors.update(torch.ones(2, 0), torch.ones(0), 3)
    errors.skip(4)
    result = errors.result()
    assert (result.images, result.skipped) == (3, 2)
    assert result.index[result.pixels == UNREADABLE].tolist() == [4]
    assert result.index.tolist() == [0, 1, 2, 3, 4]
    expected = np.mean([by_numpy(2 * p.ravel(), g.ravel() + 1) for p, g in pairs], axis=0)
    np.testing.assert_allclose(list(result.figures()["b"].values()), expected, rtol=1e-5)


def test_nyu_presets_score_the_pixels_they_name():
    truth = torch.full((480, 640), 2.0)
    whole = Box(0, 0, 480, 640)
    view = VIEWS["depthclip_nyu"]
    seen = view.box(480, 640)
    assert seen.size == (416, 544)
    assert SCORINGS["eigen_nyu"].mask(truth, whole).sum() == (471 - 45) * (601 - 41)
    # the released evaluation: rows 56:471 and columns 60:601, where crop and view meet
    assert SCORINGS["depthclip_nyu"].mask(truth, seen).sum() == (471 - 56) * (601 - 60)
    for invalid in (0.0, 1e-3, 10.0):
        truth[100, 100] = invalid
        assert SCORINGS["depthclip_nyu"].mask(truth, seen).sum() == (471 - 56) * (601 - 60) - 1


@pytest.mark.parametrize("size", [(375, 1242), (370, 1224), (376, 1241), (370, 1226)])
def test_kitti_crops(size):
    height, width = size
    box = VIEWS["kitti"].box(height, width)
    assert box == (height - 352, int((width - 1216) / 2), height, int((width - 1216) / 2) + 1216)
    garg = SCORINGS["garg_kitti"].box(height, width)
    assert garg == (
        int(0.40810811 * height),
        int(0.03594771 * width),
        int(0.99189189 * height),
        int(0.96405229 * width),
    )


def test_selecting_equals_pasting_by_hand():
    rng = np.random.default_rng(1)
    truth = torch.from_numpy(rng.uniform(0, 90, (375, 1242)).astype(np.float32))
    view, scoring = VIEWS["kitti"], SCORINGS["garg_kitti"]
    seen = view.box(375, 1242)
    depth = torch.from_numpy(rng.uniform(0.1, 100, (2, 352, 1216)).astype(np.float32))
    prediction, true = scoring.select(depth, truth, seen)

    pasted = np.zeros((2, 375, 1242), np.float32)
    pasted[:, 23:375, 13:1229] = depth
    mask = (truth.numpy() > 1e-3) & (truth.numpy() < 80)
    garg = np.zeros_like(mask)
    garg[153:371, 44:1197] = True
    np.testing.assert_array_equal(true, truth.numpy()[mask & garg])
    np.testing.assert_array_equal(prediction, np.clip(pasted[:, mask & garg], np.float32(1e-3), 80))


FRACTIONS = {
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
}


def kitti_pixels(truth, crop, convention):
    """Which pixels of the 352 x 1216 that the model saw count, by the published evaluations."""
    height, width = truth.shape
    top, left = height - 352, int((width - 1216) / 2)
    if convention == "seen":  # AdaBins and others: crop the truth first
        truth = truth[top : top + 352, left : left + 1216]
        height, width = truth.shape
    top_share, bottom_share, left_share, right_share = FRACTIONS[crop]
    rows = slice(int(top_share * height), int(bottom_share * height))
    columns = slice(int(left_share * width), int(right_share * width))
    mask = np.zeros(truth.shape, bool)
    mask[rows, columns] = True
    mask &= (truth > 1e-3) & (truth < 80)
    if convention == "truth":  # BTS offline: the prediction is pasted back, what it does not cover is left out
        pasted = np.zeros(truth.shape, bool)
        pasted[top : top + 352, left : left + 1216] = True
        mask = (mask & pasted)[top : top + 352, left : left + 1216]
    return mask


def check_kitti(truth, prediction):
    """Our presets against the conventions written out; the abs_rel of both with Garg's crop."""
    found = {}
    view = VIEWS["kitti"]
    seen = view.box(*truth.shape)
    inner = truth[seen.top : seen.bottom, seen.left : seen.right]
    for crop in FRACTIONS:
        for convention, name in (("truth", f"{crop}_kitti"), ("seen", f"{crop}_kitti_seen")):
            mask = kitti_pixels(truth, crop, convention)
            p, g = SCORINGS[name].select(torch.from_numpy(prediction)[None], torch.from_numpy(truth), seen)
            np.testing.assert_array_equal(g, inner[mask])
            np.testing.assert_array_equal(p[0], np.clip(prediction[mask], np.float32(1e-3), 80))
            expected = by_numpy(np.clip(prediction[mask], 1e-3, 80), inner[mask])
            np.testing.assert_allclose(depth_errors(p, g)[0], expected, rtol=1e-5)
            found[name] = expected[0]
    return found["garg_kitti"], found["garg_kitti_seen"]


@pytest.mark.parametrize("size", [(375, 1242), (370, 1226), (376, 1241), (374, 1238)])
def test_both_conventions_of_kitti_on_random_maps(size):
    rng = np.random.default_rng(size[0])
    truth = (rng.uniform(0, 90, size) * (rng.random(size) < 0.2)).astype(np.float32)
    check_kitti(truth, rng.uniform(0.1, 100, (352, 1216)).astype(np.float32))


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/samples")
def test_both_conventions_of_kitti_on_real_frames():
    """A flat road, seen by a camera 1.65 m above it: the convention changes its abs_rel by more than a tenth."""
    figures = []
    for frame in (5, 50, 100):
        path = SAMPLES / "kitti_annotated" / "depth" / f"{frame:010d}.png"
        truth = np.array(Image.open(path)).astype(np.float32) / 256
        rows = np.arange(352, dtype=np.float32) + (truth.shape[0] - 352) - 180.5
        road = np.where(rows > 0, 1.65 * 707.05 / np.maximum(rows, 1), 80).astype(np.float32)
        figures.append(check_kitti(truth, np.repeat(road[:, None], 1216, 1)))
    full, seen = np.mean(figures, 0)
    assert abs(seen / full - 1) > 0.1


def test_make3d_crop_maps_to_the_laser_grid():
    box = VIEWS["make3d"].box(2272, 1704)
    assert box == (710, 0, 1562, 1704)
    assert seen_in_truth(box, (2272, 1704), (55, 305)) == (17, 0, 38, 305)


def test_resampling_and_median_scaling():
    depth, truth = torch.rand(1, 6, 8) + 1, torch.rand(3, 4) + 5  # an even number of pixels
    prediction, _ = Scoring(resample="nearest").select(depth, truth, Box(0, 0, 3, 4))
    np.testing.assert_allclose(prediction[0], depth[0, ::2, ::2].flatten())
    scaled, true = Scoring(resample="nearest", median_scaling=True).select(depth, truth, Box(0, 0, 3, 4))
    assert np.median(scaled) == pytest.approx(np.median(true), rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_medians_are_numpys(count):
    values = np.random.default_rng(count).uniform(0, 9, (3, count)).astype(np.float32)
    np.testing.assert_allclose(median(torch.from_numpy(values), 1), np.median(values, 1), rtol=1e-6)
    values[1, 0] = np.nan
    np.testing.assert_allclose(median(torch.from_numpy(values), 0), np.nanmedian(values, 0), rtol=1e-6)


def test_monodepth2s_652_score_all_truth_and_clamp_predictions_at_80_m():
    """Its evaluate_depth.py for the split eigen_benchmark, written out."""
    rng = np.random.default_rng(3)
    truth = (rng.uniform(0, 90, (37, 124)) * (rng.random((37, 124)) < 0.3)).astype(np.float32)
    depth = rng.uniform(0.1, 3, (37, 124)).astype(np.float32)
    ours, true = SCORINGS["monodepth2_652"].select(
        torch.from_numpy(depth)[None], torch.from_numpy(truth), Box(0, 0, *truth.shape)
    )
    g, p = truth[truth > 0], depth[truth > 0]
    p = np.clip(p * (np.median(g) / np.median(p)), 1e-3, 80)
    assert g.max() > 80
    np.testing.assert_array_equal(true, g)
    np.testing.assert_allclose(ours[0], p, rtol=1e-5)


def test_without_a_cap_nothing_is_clamped_from_above():
    truth = torch.tensor([[0.0, 5.0, 500.0]])
    scoring = Scoring(max_depth=None)
    prediction, true = scoring.select(torch.tensor([[[1.0, 700.0, 900.0]]]), truth, Box(0, 0, *truth.shape))
    assert true.tolist() == [5.0, 500.0]
    assert prediction.tolist() == [[700.0, 900.0]]
    assert (scoring.farthest(truth), Scoring().farthest(truth)) == (500.0, 10.0)


def test_a_crop_that_does_not_fit_the_truth_is_refused():
    with pytest.raises(InputError, match=r"scoring.crop \(45, 41, 471, 601\) does not fit a depth map of 416 x 544"):
        SCORINGS["eigen_nyu"].mask(torch.ones(416, 544), Box(0, 0, 416, 544))


def test_views():
    image = torch.randint(0, 255, (3, 60, 90), dtype=torch.uint8)
    torch.testing.assert_close(View(crop=(10, 20, 40, 80)).see(image), image[:, 10:40, 20:80])
    assert View(size=(30, 30)).see(image).shape == (3, 30, 30)
    assert View(max_side=45).see(image).shape == (3, 30, 45)
    assert View(max_side=100).see(image).shape == (3, 60, 90)
    with pytest.raises(ValueError, match="does not fit an image of 60 x 90"):
        View(crop="kb").see(image)
    with pytest.raises(ValueError, match="eigen_nyu"):
        view_of("nyu")
    with pytest.raises(ValueError, match="garg_kitti"):
        scoring_of("kitti")
    with pytest.raises(ValueError, match="max_depth 0 must be"):
        Scoring(max_depth=0)


def test_constants_scored_by_sorting_are_scored_right():
    g = torch.from_numpy(np.random.default_rng(2).uniform(0.3, 9, 999).astype(np.float32))
    constants = torch.tensor([0.2, 1.0, 2.5, float(g[7]), 8.0, 20.0])
    for c, found in zip(constants, constant_errors(constants, g), strict=True):
        expected = by_numpy(np.full(999, c.item()), g.numpy())
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


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
    # a predicted depth of 0 that the protocol allows has infinite logarithms, but is finite
    check_outcome(outcome_of(0.0, 2.0, min_depth=0.0), scoring)
    with pytest.raises(InputError, match=r"no pixel of the 2 images counts.*0.001 to 10 m.*check the scale"):
        check_outcome(outcome_of(1.0, 2000.0), scoring)
    with pytest.raises(InputError, match="none of the 2 images could be read"):
        check_outcome(outcome_of(1.0, 2.0, unreadable=[3, 5]), scoring)
    with pytest.raises(InputError, match="'head' of image 3 is not finite"):
        check_outcome(outcome_of(float("nan"), 2.0), scoring)
