"""Views and scorings: the presets as literal numbers, and published evaluations in NumPy."""

import numpy as np
import pytest
import torch
from PIL import Image

from depthclip.errors import InputError
from depthclip.evaluation.metrics import depth_errors
from depthclip.protocol import SCORINGS, VIEWS, Box, Scoring, View, median, scoring_of, seen_in_truth, view_of
from tests.layouts import SAMPLES
from tests.test_evaluation import by_numpy

# Size of the images, box (top, left, bottom, right) of the view, and size that the model sees.
VIEW_BOXES = {
    "depthclip_nyu": [((480, 640), (56, 60, 472, 604), (416, 544))],  # PIL crop (60, 56, 604, 472), datasets_list.py
    "eigen_nyu": [((480, 640), (0, 0, 480, 640), (480, 640))],
    "whole": [((480, 640), (0, 0, 480, 640), (480, 640))],
    # KITTI's depth benchmark: top = H - 352, left = int((W - 1216) / 2), in BTS's dataloader
    "kitti": [
        ((375, 1242), (23, 13, 375, 1229), (352, 1216)),
        ((370, 1224), (18, 4, 370, 1220), (352, 1216)),
        ((376, 1241), (24, 12, 376, 1228), (352, 1216)),
        ((370, 1226), (18, 5, 370, 1221), (352, 1216)),
        ((352, 1216), (0, 0, 352, 1216), (352, 1216)),
    ],
    "monodepth2_kitti": [((375, 1242), (0, 0, 375, 1242), (192, 640))],  # options.py: height 192, width 640
    "make3d": [((2272, 1704), (710, 0, 1562, 1704), (256, 512))],  # Monodepth2, issue 89: 852 rows of 2272
    "make3d_whole": [((2272, 1704), (0, 0, 2272, 1704), (512, 384))],
}
# Size of the map, and box of the scoring. Garg's fractions of the height are 0.40810811 and 0.99189189, Eigen's
# 0.3324324 and 0.91351351; of the width 0.03594771 (Eigen: 0.0359477) and 0.96405229; products are rounded down.
GARG = [
    ((375, 1242), (153, 44, 371, 1197)),
    ((370, 1224), (151, 43, 366, 1180)),
    ((376, 1241), (153, 44, 372, 1196)),
    ((370, 1226), (151, 44, 366, 1181)),
    ((352, 1216), (143, 43, 349, 1172)),
]
EIGEN = [
    ((375, 1242), (124, 44, 342, 1197)),
    ((370, 1224), (122, 43, 337, 1180)),
    ((352, 1216), (117, 43, 321, 1172)),
]
SCORING_BOXES = {
    "depthclip_nyu": [((480, 640), (45, 46, 471, 601))],  # calculate_error.py
    "eigen_nyu": [((480, 640), (45, 41, 471, 601))],  # BTS, AdaBins, ZoeDepth, Marigold
    "whole": [((480, 640), (0, 0, 480, 640))],
    "garg_kitti": GARG,
    "garg_kitti_seen": GARG,
    "eigen_kitti": EIGEN,
    "eigen_kitti_seen": EIGEN,
    "monodepth2_697": GARG,
    "monodepth2_652": [((375, 1242), (0, 0, 375, 1242))],
    "make3d_c1": [((21, 305), (0, 0, 21, 305))],  # the laser's rows that the centre crop covers
    "make3d_c2": [((55, 305), (0, 0, 55, 305))],
}
INF = float("inf")
# Exclusive range of the ground truth and range of the prediction, in metres.
RANGES = {
    "depthclip_nyu": ((1e-3, 10.0), (1e-3, 10.0)),
    "eigen_nyu": ((1e-3, 10.0), (1e-3, 10.0)),
    "whole": ((1e-3, 10.0), (1e-3, 10.0)),
    "garg_kitti": ((1e-3, 80.0), (1e-3, 80.0)),
    "garg_kitti_seen": ((1e-3, 80.0), (1e-3, 80.0)),
    "eigen_kitti": ((1e-3, 80.0), (1e-3, 80.0)),
    "eigen_kitti_seen": ((1e-3, 80.0), (1e-3, 80.0)),
    "monodepth2_697": ((1e-3, 80.0), (1e-3, 80.0)),  # evaluate_depth.py: MIN_DEPTH and MAX_DEPTH
    "monodepth2_652": ((0.0, INF), (1e-3, 80.0)),  # evaluate_depth.py: the mask of eigen_benchmark is gt > 0
    "make3d_c1": ((1e-3, 70.0), (1e-3, 70.0)),
    "make3d_c2": ((1e-3, 80.0), (1e-3, 80.0)),
}


def test_the_boxes_of_views():
    assert VIEWS.keys() == VIEW_BOXES.keys()
    for name, cases in VIEW_BOXES.items():
        for size, box, seen in cases:
            assert VIEWS[name].box(*size) == box, name
            assert VIEWS[name].see(torch.zeros(3, *size, dtype=torch.uint8)).shape == (3, *seen), name


def test_the_boxes_of_scorings():
    assert SCORINGS.keys() == SCORING_BOXES.keys()
    for name, cases in SCORING_BOXES.items():
        for size, box in cases:
            assert SCORINGS[name].box(*size) == box, name


def test_the_ranges_of_scorings():
    assert SCORINGS.keys() == RANGES.keys()
    for name, (truth, prediction) in RANGES.items():
        scoring = SCORINGS[name]
        assert ((scoring.min_depth, scoring.cap), scoring.limits) == (truth, prediction), name


def test_the_other_choices_of_presets():
    assert {name for name, view in VIEWS.items() if not view.mirror} == {"whole"}
    assert {name for name, view in VIEWS.items() if view.align_corners} == {"depthclip_nyu"}
    scorings = SCORINGS.items()
    assert {name for name, scoring in scorings if scoring.alignment == "median"} == {"monodepth2_697", "monodepth2_652"}
    assert {name for name, scoring in scorings if scoring.resample == "nearest"} == {"make3d_c1", "make3d_c2"}
    assert {name for name, scoring in scorings if scoring.crop_of == "seen"} == {"garg_kitti_seen", "eigen_kitti_seen"}


def test_the_centre_of_make3d_on_the_laser_grid():
    assert seen_in_truth(Box(710, 0, 1562, 1704), (2272, 1704), (55, 305)) == (17, 0, 38, 305)  # Monodepth2, issue 89


def test_predictions_are_aligned_with_the_seen_part_of_the_target():
    rng = np.random.default_rng(4)
    target = (rng.uniform(0, 12, (8, 10)) * (rng.random((8, 10)) < 0.8)).astype(np.float32)
    prediction = rng.uniform(0, 12, (2, 12, 16)).astype(np.float32)
    scoring = Scoring(crop=(3, 0, 8, 7), resample="nearest")
    aligned = scoring.align(torch.from_numpy(prediction), torch.from_numpy(target), Box(2, 1, 8, 9))
    inside = np.zeros((8, 10), bool)
    inside[3:8, 0:7] = True
    mask = (inside & (target > 1e-3) & (target < 10))[2:8, 1:9]
    np.testing.assert_array_equal(aligned.prediction, prediction[:, ::2, ::2])
    np.testing.assert_array_equal(aligned.target, target[2:8, 1:9])
    np.testing.assert_array_equal(aligned.mask, mask)
    pixels, values = aligned.pixels()
    np.testing.assert_array_equal(pixels, prediction[:, ::2, ::2][:, mask])
    np.testing.assert_array_equal(values, target[2:8, 1:9][mask])
    np.testing.assert_array_equal(scoring.limit(pixels, values), np.clip(pixels, np.float32(1e-3), 10))


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
    """Return the mask of the pixels that count, of the 352 x 1216 that the model saw, as in the published code."""
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
    """Compare the presets with both conventions, and return the abs_rel of both with Garg's crop."""
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
    """The convention changes the abs_rel of a flat road, 1.65 m below the camera, by more than a tenth."""
    figures = []
    for frame in (5, 50, 100):
        path = SAMPLES / "kitti_annotated" / "depth" / f"{frame:010d}.png"
        truth = np.array(Image.open(path)).astype(np.float32) / 256
        rows = np.arange(352, dtype=np.float32) + (truth.shape[0] - 352) - 180.5
        road = np.where(rows > 0, 1.65 * 707.05 / np.maximum(rows, 1), 80).astype(np.float32)
        figures.append(check_kitti(truth, np.repeat(road[:, None], 1216, 1)))
    full, seen = np.mean(figures, 0)
    assert abs(seen / full - 1) > 0.1


def test_resampling_and_median_scaling():
    depth, truth = torch.rand(1, 6, 8) + 1, torch.rand(3, 4) + 5  # an even number of pixels
    prediction, _ = Scoring(resample="nearest").select(depth, truth, Box(0, 0, 3, 4))
    np.testing.assert_allclose(prediction[0], depth[0, ::2, ::2].flatten())
    scaled, true = Scoring(resample="nearest", alignment="median").select(depth, truth, Box(0, 0, 3, 4))
    assert np.median(scaled) == pytest.approx(np.median(true), rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_medians_are_numpys(count):
    values = np.random.default_rng(count).uniform(0, 9, (3, count)).astype(np.float32)
    np.testing.assert_allclose(median(torch.from_numpy(values), 1), np.median(values, 1), rtol=1e-6)
    values[1, 0] = np.nan
    np.testing.assert_allclose(median(torch.from_numpy(values), 0), np.nanmedian(values, 0), rtol=1e-6)


def test_monodepth2s_652_score_all_truth_and_clamp_predictions_at_80_m():
    """Compare with evaluate_depth.py of Monodepth2 for the split eigen_benchmark."""
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


def test_a_view_resizes_to_a_focal_length():
    """size * focal of the view / focal length of the image at that size, by hand."""
    image = torch.zeros(3, 60, 90, dtype=torch.uint8)
    assert View(focal=50.0).see(image).shape == (3, 60, 90)  # whose focal length is not known
    assert View(focal=50.0).see(image, 100.0).shape == (3, 30, 45)
    assert View(focal=50.0, max_side=45).see(image, 100.0).shape == (3, 30, 45)
    # the crop keeps the focal length of 100 pixels, and its size makes it 200
    assert View(crop=(10, 20, 40, 65), size=(60, 90), focal=100.0).see(image, 100.0).shape == (3, 30, 45)
    assert View(size=(64, 90), focal=150.0).see(image, 100.0).shape == (3, 96, 135)
    with pytest.raises(
        InputError, match=r"view.focal 1e\+06 would resize an image 90 pixels wide .* set view.focal lower"
    ):
        View(focal=1e6).see(image, 2.0)
    with pytest.raises(InputError, match=r"to less than 16 pixels; set view.focal higher"):
        View(focal=1.0).see(image, 1e6)


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


@pytest.mark.parametrize("view", [View(max_side=1), View(size=(1, 1))])
def test_an_image_reduced_to_a_pixel_is_its_mean(view):
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 1, 2), dtype=np.uint8))
    seen = view.see(image)
    assert seen.dtype == torch.uint8
    # the two weights of the antialiased triangle, which is centred between the pixels, are equal
    assert seen.flatten().tolist() == [round(value) for value in image.double().mean((1, 2)).tolist()]
