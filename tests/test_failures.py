"""Errors by range of depth, boundary F1 and errors of normals."""

import json
import math

import numpy as np
import pytest
import torch

from depthclip.__main__ import main
from depthclip.camera import focal_length
from depthclip.data.batches import Item
from depthclip.data.raycast import draw_room
from depthclip.data.rooms import generator
from depthclip.evaluation import BoundaryF1, DepthRanges, NormalErrors
from depthclip.evaluation.evaluation import Evaluation
from depthclip.evaluation.measures import Measure, ScoredImage
from depthclip.evaluation.metrics import ERRORS, depth_errors
from depthclip.evaluation.normals import surface_normals
from depthclip.protocol import Box, Scoring


def image_of(prediction, target, mask=None, focal=None, center=None):
    """Return predictions (V, h, w) and a target (h, w), which count where the mask is true."""
    prediction, target = torch.as_tensor(prediction).float(), torch.as_tensor(target).float()
    mask = torch.ones_like(target, dtype=torch.bool) if mask is None else torch.as_tensor(mask)
    return ScoredImage(prediction[:, mask], target[mask], mask, focal, None, center)


def f1_by_numpy(prediction, target, mask, radius):
    """Boundary F1 by its definition, pair by pair."""
    height, width = target.shape
    pairs = []
    for row in range(radius, height - radius):
        for column in range(radius, width - radius):
            for down in range(-radius, radius + 1):
                for across in range(-radius, radius + 1):
                    there = row + down, column + across
                    if 0 < math.hypot(down, across) <= radius and mask[row, column] and mask[there]:
                        pairs.append((prediction[there] / prediction[row, column], target[there] / target[row, column]))
    predicted, true = np.array(pairs).T
    scores, weights = [], []
    for threshold in np.linspace(0.05, 0.25, 10):
        p, g = predicted > 1 + threshold, true > 1 + threshold
        if g.any():
            precision, recall = (p & g).sum() / max(p.sum(), 1), (p & g).sum() / g.sum()
            scores.append(2 * precision * recall / (precision + recall) if (p & g).any() else 0)
            weights.append(threshold)
    return np.average(scores, weights=weights)


def blocks(seed, height=17, width=23):
    """Return blocks of depth with steps of up to a third, so that some thresholds have no edge in some of them."""
    small = np.random.default_rng(seed).uniform(2, 2.7, (-(-height // 4), -(-width // 5)))
    return np.kron(small, np.ones((4, 5)))[:height, :width]


@pytest.mark.parametrize("seed", range(4))
def test_boundary_f1_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    target, mask = blocks(seed), rng.random((17, 23)) < 0.9
    predictions = np.stack([target * rng.uniform(0.9, 1.1, target.shape), np.roll(target, 1, 1), blocks(seed + 10)])
    found = BoundaryF1().of(image_of(predictions, target, mask))
    expected = [[f1_by_numpy(prediction, target, mask, radius) for radius in (1, 2, 3)] for prediction in predictions]
    np.testing.assert_allclose(found, expected, atol=1e-4)  # float32 may move a pair across a threshold


def test_an_edge_shifted_by_a_pixel_moves_f1_and_hardly_the_errors():
    target = torch.full((60, 80), 2.0)
    target[:, 40:] = 3.0
    shifted = torch.roll(target, 1, 1)
    shifted[:, 0] = 2.0
    image = image_of(torch.stack([target, shifted, target * 1.7]), target)
    f1 = BoundaryF1().of(image)
    assert f1[0].tolist() == [1.0, 1.0, 1.0]
    assert f1[1, 0] == 0.0
    assert 0 < f1[1, 1] < f1[1, 2] < 1
    assert f1[2].tolist() == [1.0, 1.0, 1.0]  # a factor
    errors = depth_errors(image.prediction[:2], image.target)
    assert errors[1, ERRORS.index("abs_rel")] == pytest.approx(1 / 80 / 3)
    assert errors[1, ERRORS.index("delta1")] == pytest.approx(79 / 80)


def test_pixels_that_do_not_count_are_no_edges():
    target = torch.full((20, 20), 2.0)
    mask = torch.ones(20, 20, dtype=torch.bool)
    mask[5:9, 6:12] = False
    assert BoundaryF1().of(image_of(target[None], target, mask)).isnan().all()  # no edge around the hole
    target[5:9, 6:12] = 9.0
    assert BoundaryF1().of(image_of(target[None], target, mask)).isnan().all()


def test_an_image_that_is_smaller_than_the_window_has_no_figure():
    target = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert BoundaryF1().of(image_of(target[None], target)).isnan().all()
    assert NormalErrors().of(image_of(target[None], target, focal=2.0)).isnan().all()


def test_ranges_are_the_errors_of_their_pixels():
    rng = np.random.default_rng(0)
    g, p = rng.uniform(0.5, 6, (12, 14)), rng.uniform(0.5, 6, (2, 12, 14))
    measure = DepthRanges([0, 2, 4.5, 20, 40], ["abs_rel", "rmse", "delta1"])
    assert measure.names[:4] == ("abs_rel 0-2 m", "rmse 0-2 m", "delta1 0-2 m", "abs_rel 2-4.5 m")
    assert measure.higher == ("delta1 0-2 m", "delta1 2-4.5 m", "delta1 4.5-20 m", "delta1 20-40 m")
    found = measure.of(image_of(p, g))
    assert found.shape == (2, 12)
    assert found[:, 9:].isnan().all()
    for k, (low, high) in enumerate([(0, 2), (2, 4.5), (4.5, 20)]):
        inside = (g >= low) & (g < high)
        for row in (0, 1):
            a, b = p[row][inside], g[inside]
            expected = [
                np.mean(abs(a - b) / b),
                np.sqrt(np.mean((a - b) ** 2)),
                np.mean(np.maximum(a / b, b / a) < 1.25),
            ]
            np.testing.assert_allclose(found[row, 3 * k : 3 * k + 3], expected, rtol=1e-5)


def test_the_edge_of_two_ranges_belongs_to_the_farther():
    found = DepthRanges([1, 2, 3], ["abs_rel"]).of(image_of([[[1.5, 1.1]]], [[2.0, 1.0]]))
    np.testing.assert_allclose(found, [[0.1, 0.25]], rtol=1e-6)


def plane(normal, distance, focal, center, height=40, width=56):
    """Return the planar depth of the plane n . X = d on every ray through the centre of a pixel."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    x, y = (columns - center[1]) / focal, (rows - center[0]) / focal
    return distance / (normal[0] * x + normal[1] * y + normal[2])


def unit(*vector):
    return np.array(vector) / np.linalg.norm(vector)


@pytest.mark.parametrize("radius", [1, 3])
@pytest.mark.parametrize("normal", [(0, 0, 1), (0.5, 0, 1), (-0.3, 0.6, 1), (0.1, 2.0, 1.5)])
def test_normals_of_planes(normal, radius):
    normal, center = unit(*normal), (17.0, 30.5)
    depth = torch.from_numpy(plane(normal, 3.0, 90.0, center)).float()
    found = surface_normals(depth, 90.0, center, radius)
    assert found.shape == (3, 40 - 2 * radius, 56 - 2 * radius)
    np.testing.assert_allclose(found, np.broadcast_to(normal[:, None, None], found.shape), atol=2e-4)


def test_tilted_planes_differ_by_their_angle_and_exact_truth_by_nothing():
    focal, center = 80.0, (20.0, 28.0)
    first, second = unit(0, 0, 1), unit(0, math.sin(math.radians(20)), math.cos(math.radians(20)))
    depths = np.stack([plane(normal, 2.0, focal, center) for normal in (first, second)])
    measure = NormalErrors(radius=1)
    found = measure.of(image_of(depths, depths[0], focal=focal))  # the centre of the mask by default
    np.testing.assert_allclose(found, [[0, 0, 1], [20, 20, 0]], atol=0.01)
    assert measure.higher == (measure.names[2],)


def test_normals_are_undefined_without_a_focal_length_or_dense_truth():
    depth = torch.full((20, 20), 3.0)
    sparse = torch.zeros(20, 20, dtype=torch.bool)
    sparse[::2] = True
    assert NormalErrors().of(image_of(depth[None], depth)).isnan().all()
    assert NormalErrors().of(image_of(depth[None], depth, sparse, focal=20.0)).isnan().all()


def test_holes_leave_out_the_windows_that_they_touch():
    normal, focal = unit(0.2, 0.3, 1), 60.0
    target = plane(normal, 2.0, focal, (20, 28))
    mask = np.ones(target.shape, bool)
    mask[10, 10] = False
    target[10, 10] = 0
    found = NormalErrors(radius=2).of(image_of(np.where(mask, target, 7.0)[None], target, mask, focal=focal))
    np.testing.assert_allclose(found, [[0, 0, 1]], atol=0.01)


def wall_errors(index):
    """Return the largest angle in degrees between normals from depth and those of the geometry, by wall of a room."""
    drawn = draw_room(generator("test", index, 0))
    height, width = drawn.depth.shape
    normals = surface_normals(torch.from_numpy(drawn.depth), focal_length(width, 70), (height / 2, width / 2)).numpy()
    camera, errors = drawn.scene.camera, {}
    cos, sin = math.cos(camera.pitch), math.sin(camera.pitch)
    tilt = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    cos, sin = math.cos(camera.yaw), math.sin(camera.yaw)
    axes = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]) @ tilt  # from right, up, ahead to the room's x, y, z
    for number in range(6):
        axis, side = divmod(number, 2)
        expected = axes.T @ (np.eye(3)[axis] * (1 if side else -1)) * (1, -1, 1)  # y of an image points down
        here = np.lib.stride_tricks.sliding_window_view(drawn.surface == number, (3, 3)).all((2, 3))
        if here.any():
            sine = np.linalg.norm(np.cross(normals[:, here].T, expected), axis=1)
            errors[number] = np.degrees(np.arctan2(sine, normals[:, here].T @ expected)).max()
    return errors


def test_normals_of_rooms_are_those_of_their_walls():
    errors = [(number, error) for index in range(8) for number, error in wall_errors(index).items()]
    assert max(error for _, error in errors) < 0.1
    assert len({number for number, _ in errors}) >= 5


class Center(Measure):
    names = ("row", "column")

    def of(self, image):
        return torch.tensor([image.center])


def test_the_principal_point_is_the_centre_of_the_whole_image():
    seen = Box(6, 4, 36, 50)
    evaluation = Evaluation(("a",), None, torch.device("cpu"), baselines=False, measures=[Center()])
    item = Item(0, torch.zeros(3, 30, 46), torch.ones(40, 56), seen, "a", "", 50.0)
    evaluation.add(item, torch.ones(1, 30, 46), Scoring())
    figures = evaluation.outcome().result.figures()["a"]
    assert [figures[name] for name in Center.names] == [20 - 6, 28 - 4]


def test_measures_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    errors = "[BoundaryF1, NormalErrors, {class_path: DepthRanges, init_args: {edges: [0, 3, 10], errors: [rmse]}}]"
    rooms = ["--data.test_size", "4", "--data.train_size", "4", "--data.loading.num_workers", "0"]
    main(["test", "-c", "rooms", "--model.errors", errors, *rooms])
    (path,) = tmp_path.rglob("metrics.json")
    metrics = json.loads(path.read_text())
    row = next(iter(metrics["figures"].values()))
    assert {"boundary_f1 1 px", "boundary_f1 3 px", "normals mean deg", "rmse 0-3 m", "rmse 3-10 m"} <= row.keys()
    assert 0 < row["normals mean deg"] < 90
