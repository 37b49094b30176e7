"""Make3D in its folder variants, and its protocols on the laser's grid."""

import math

import numpy as np
import pytest
import torch
import yaml
from scipy.io import savemat

from depthclip.data import DataError, Make3D
from depthclip.data.batches import Viewed
from depthclip.data.make3d import read_laser_grid
from depthclip.evaluation.metrics import ERRORS, depth_errors
from depthclip.protocol import Scoring, View, spell_out
from tests.layouts import SAMPLES, link, picture, write_image, write_laser_grid
from tests.test_cli import CONFIGS

pytestmark = pytest.mark.filterwarnings("ignore:.*of the official")


@pytest.mark.parametrize(
    ("images", "depths"),
    [
        ("Test134", "Gridlaserdata"),
        ("Test134", "Test134Depth/Gridlaserdata"),
        ("Test134Img", "Test134Depth"),
        ("test/image", "test/depth"),
    ],
)
def test_folder_variants(tmp_path, images, depths):
    grids = {}
    for seed, name in enumerate(("op36-p-251t000", "math11-p-313t000")):
        write_image(tmp_path / images / f"img-{name}.jpg", picture(seed, 64, 48))
        grids[name] = write_laser_grid(tmp_path / depths / f"depth_sph_corr-{name}.mat", seed)
    data = Make3D(str(tmp_path), allow_partial=True)
    samples = data.samples("test")
    assert data.folders == {"test": [images, depths]}
    assert [samples.name(index) for index in range(2)] == ["img-math11-p-313t000.jpg", "img-op36-p-251t000.jpg"]
    sample = samples[1]
    assert sample.image.shape == (3, 64, 48)
    assert sample.depth.shape == (55, 305)
    assert np.array_equal(sample.depth, grids["op36-p-251t000"].astype(np.float32))
    with pytest.raises(DataError, match="2 images of the official 134"):
        Make3D(str(tmp_path)).samples("test")


def test_prefixes_that_only_one_of_a_pair_has(tmp_path):
    for image, depth in (("10.21op2-p-015t000", "op2-p-015t000"), ("10.21op2-p-139t000", "10.21op2-p-139t000")):
        write_image(tmp_path / "Test134" / f"img-{image}.jpg", picture(0))
        write_laser_grid(tmp_path / "Gridlaserdata" / f"depth_sph_corr-{depth}.mat", 0)
    assert len(Make3D(str(tmp_path), allow_partial=True).samples("test")) == 2


def test_complete_copies_count_134_and_400(tmp_path):
    write_image(tmp_path / "image.jpg", picture(0))
    write_laser_grid(tmp_path / "grid.mat", 0)
    for folder, depths, count in (("Test134", "Gridlaserdata", 134), ("Train400Img", "Train400Depth", 400)):
        for index in range(count):
            link(tmp_path / "image.jpg", tmp_path / folder / f"img-{folder}-p-{index:03d}.jpg")
            link(tmp_path / "grid.mat", tmp_path / depths / f"depth_sph_corr-{folder}-p-{index:03d}.mat")
    data = Make3D(str(tmp_path))
    assert len(data.samples("test")) == 134
    assert (len(data.samples("train")), len(data.samples("val"))) == (360, 40)
    (tmp_path / "Train400Depth" / "depth_sph_corr-Train400Img-p-007.mat").unlink()
    message = r"399 images of the official 400 \(the depth of .*img-Train400Img-p-007\.jpg does not exist"
    with pytest.raises(DataError, match=message):
        data.samples("train")


def test_nothing_there_lists_what_was_looked_for(tmp_path):
    with pytest.raises(
        DataError, match=r"no images img-\*\.jpg of the test split .*Test134 or Test134Img .*test/image"
    ):
        Make3D(str(tmp_path)).setup("test")
    write_image(tmp_path / "Test134" / "img-a.jpg", picture(0))
    with pytest.raises(DataError, match=r"no depths .*Test134Depth/Gridlaserdata.*Gridlaserdata"):
        Make3D(str(tmp_path)).setup("test")


def test_broken_grids_are_named(tmp_path):
    path = tmp_path / "depth_sph_corr-a.mat"
    write_laser_grid(path, 0)
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"something else" * 99):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"depth_sph_corr-a\.mat cannot be read"):
            read_laser_grid(path)
    path.write_bytes(whole + b"more")  # as some of the official ones are
    assert read_laser_grid(path).shape == (55, 305)
    savemat(path, {"Position3DGrid": np.ones((55, 305))})
    with pytest.raises(DataError, match=r"shape \(55, 305\)"):
        read_laser_grid(path)
    savemat(path, {"other": np.ones(3)})
    with pytest.raises(DataError, match="Position3DGrid"):
        read_laser_grid(path)


def monodepth2(prediction: np.ndarray, grid: np.ndarray, scaled: bool) -> dict[str, float]:
    """Make3D as the authors of Monodepth2 describe it (monodepth2#89), on a prediction for the 2:1 centre."""
    truth = grid[17:38]
    rows = np.floor(np.arange(21) * prediction.shape[0] / 21).astype(int)
    columns = np.floor(np.arange(305) * prediction.shape[1] / 305).astype(int)
    near = prediction[rows][:, columns]
    mask = (truth > 0) & (truth < 70)
    p, g = near[mask].astype(np.float64), truth[mask].astype(np.float64)
    if scaled:
        p = p * np.median(g) / np.median(p)
    p = np.minimum(p, 70)
    return {
        "abs_rel": np.mean(np.abs(p - g) / g),
        "sq_rel": np.mean((p - g) ** 2 / g),
        "rmse": np.sqrt(np.mean((p - g) ** 2)),
        "rmse of log10": np.sqrt(np.mean((np.log10(p) - np.log10(g)) ** 2)),
        "log10": np.mean(np.abs(np.log10(p) - np.log10(g))),
    }


@pytest.mark.parametrize("scaled", [True, False])
def test_c1_on_the_centre_is_monodepth2s(tmp_path, scaled):
    grid = write_laser_grid(tmp_path / "Gridlaserdata" / "depth_sph_corr-a.mat", 1).astype(np.float32)
    write_image(tmp_path / "Test134" / "img-a.jpg", picture(1, 2272, 1704))
    view = View(crop="2:1", size=(64, 128))
    scoring = Scoring(max_depth=70.0, resample="nearest", alignment="median" if scaled else "none")
    data = Make3D(str(tmp_path), allow_partial=True, view=view, scoring=scoring)
    data.setup("test")
    (item,) = next(iter(data.test_dataloader())).items
    assert item.rgb.shape == (3, 64, 128)
    assert tuple(item.seen) == (17, 0, 38, 305)
    prediction = np.random.default_rng(0).uniform(2, 60, (64, 128)).astype(np.float32)
    ours, true = scoring.select(torch.from_numpy(prediction)[None], item.depth, item.seen)
    assert len(true) == ((grid[17:38] > 0) & (grid[17:38] < 70)).sum()
    figures = dict(zip(ERRORS, depth_errors(ours, true)[0].tolist(), strict=True))
    expected = monodepth2(prediction, grid, scaled)
    for name in ("abs_rel", "sq_rel", "rmse", "log10"):
        assert figures[name] == pytest.approx(expected[name], rel=1e-6), name
    assert figures["rmse_log"] / math.log(10) == pytest.approx(expected["rmse of log10"], rel=1e-6)


def test_the_two_recipes_differ_in_the_median_alone():
    metric, scaled = (
        spell_out(yaml.safe_load((CONFIGS / f"data/{name}.yaml").read_text()))["init_args"]
        for name in ("make3d", "make3d_median")
    )
    assert metric["scoring"].pop("alignment") == "none"
    assert scaled["scoring"].pop("alignment") == "median"
    assert metric == scaled


def test_c2_scores_the_whole_image(tmp_path):
    grid = write_laser_grid(tmp_path / "Gridlaserdata" / "depth_sph_corr-a.mat", 2)
    write_image(tmp_path / "Test134" / "img-a.jpg", picture(1, 568, 426))
    data = Make3D(str(tmp_path), allow_partial=True, view=View(size=(64, 48)), scoring="make3d_c2")
    data.setup("test")
    (item,) = next(iter(data.test_dataloader())).items
    _, true = data.scoring.select(torch.ones(1, 64, 48), item.depth, item.seen)
    assert len(true) == (grid < 80).sum()


def test_training_turns_the_grid_with_the_image(tmp_path):
    from depthclip.data.augment import Augment

    grid = write_laser_grid(tmp_path / "Gridlaserdata" / "depth_sph_corr-a.mat", 2).astype(np.float32)
    write_image(tmp_path / "Test134" / "img-a.png", picture(1, 2272, 1704))
    write_image(tmp_path / "Test134" / "img-a.jpg", picture(1, 2272, 1704))
    data = Make3D(str(tmp_path), allow_partial=True)
    augment = Augment(mirror=1.0, rotation=0, colour=0)
    item = Viewed(data.samples("test"), View(crop="2:1", size=(64, 128)), augment)[0]
    assert item.rgb.shape == (3, 64, 128)
    assert item.depth.shape == (852, 1704)
    assert tuple(item.seen) == (0, 0, 852, 1704)
    assert item.depth[0, 0] == grid[17, 304]
    assert item.depth[-1, -1] == grid[37, 0]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/samples")
def test_a_real_image_has_the_2_to_1_centre_at_rows_710_to_1562(tmp_path):
    write_laser_grid(tmp_path / "Gridlaserdata" / "depth_sph_corr-op36-p-251t000.mat", 0)
    (tmp_path / "Test134").mkdir()
    name = "img-op36-p-251t000.jpg"
    (tmp_path / "Test134" / name).symlink_to(SAMPLES / "make3d" / name)
    sample = Make3D(str(tmp_path), allow_partial=True).samples("test")[0]
    assert sample.image.shape == (3, 2272, 1704)
    assert tuple(View(crop="2:1").box(2272, 1704)) == (710, 0, 1562, 1704)
