"""The ladder: oracles, probes and controls against NumPy, scikit-learn and scipy, and the experiment on a few rooms."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import minimize
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from depthclip import Bins, DepthHead, Prompts
from depthclip.__main__ import main as depthclip_main
from depthclip.cli import resolve
from depthclip.data.batches import Item
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.errors import InputError
from depthclip.instantiate import instantiate
from depthclip.probes import (
    AnotherImage,
    BinnedTruth,
    Grid,
    MeanFeature,
    NetworkProbe,
    PatchTruth,
    PermutedPrompts,
    RidgeProbe,
    TrainingBatch,
    build_ladder,
    encode_training,
    learn,
    nonsense,
    patch_means,
    with_prompts,
)
from depthclip.probes.ladder import BINNED, LEARNED, PATCHES, PERMUTED, STEPS, WORDS
from depthclip.protocol import Box, Scoring, View
from experiments import budget

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT.parent.parent / "shared" / "samples" / "seven_scenes"
SMALL = ["--set=data.test_size=4", "--set=data.train_size=4", "--set=model.panels=0"]


def test_the_truth_of_a_patch_is_the_mean_of_its_valid_pixels():
    depth = torch.tensor([[1.0, 3.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    means = patch_means(depth[None, None], (1, 2))[0, 0]
    assert means[0, 0] == 2.0  # of 1, 3 and 2
    assert means[0, 1].isnan()


def grid_of(size):
    """A grid of patches without a model."""
    return SimpleNamespace(of=lambda image: size, view=View(), model=SimpleNamespace(head=DepthHead(Prompts(), Bins())))


def item_of(depth):
    height, width = depth.shape
    return Item(0, torch.zeros(3, height, width), depth, Box(0, 0, height, width), "a", "")


def test_pixels_that_do_not_count_leave_the_truth_of_a_patch_alone():
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 20, (8, 12)).astype(np.float32)  # half of it beyond 10 m
    depth[:, :4] = 0  # the left patches have no pixel that counts: they take their right neighbours
    predicted = PatchTruth(grid_of((2, 3)), Scoring()).predict(item_of(torch.from_numpy(depth)))
    expected = np.empty((2, 3), np.float32)
    for row in range(2):
        for column in range(1, 3):
            patch = depth[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            expected[row, column] = patch[(patch > 1e-3) & (patch < 10)].mean()
        expected[row, 0] = expected[row, 1]
    upsampled = Image.fromarray(expected).resize((12, 8), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(predicted.numpy(), np.asarray(upsampled), rtol=1e-5)


@pytest.mark.parametrize("depth", [0.3, 1.0, 1.7, 2.9, 7.0])
def test_no_convex_weights_of_the_bins_are_better(depth):
    bins = np.array([1.0, 2.0, 4.0])
    best = minimize(
        lambda w: (w @ bins - depth) ** 2,
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    )
    oracle = BinnedTruth(grid_of((1, 1)), Scoring(max_depth=None), torch.from_numpy(bins))
    assert float(oracle.limited(torch.tensor(depth))) == pytest.approx(best.x @ bins, abs=1e-3)


def test_bins_are_needed():
    for bins in (None, torch.ones(2, 3)):
        with pytest.raises(InputError, match=r"model.head DepthHead .*; use a DepthHead whose bins"):
            BinnedTruth(grid_of((1, 1)), Scoring(), bins)


def batches(images=6, channels=5, noise=0.05):
    """Training images whose log depth is linear in the features, up to noise."""
    rng = np.random.default_rng(0)
    weight, result = rng.normal(size=channels), []
    for _ in range(images // 2):
        x = rng.normal(size=(2, channels, 3, 4))
        y = np.exp(np.einsum("bchw,c->bhw", x, weight) / 5 + noise * rng.normal(size=(2, 3, 4)))[:, None]
        y[0, 0, 0, 0] = np.nan
        features = ImageFeatures(torch.tensor(x).float(), None, (torch.tensor(x[:, :2]).float(),))
        result.append(TrainingBatch(features, torch.tensor(y).float(), torch.full((3,), 0.5), ("a", "b"), (12, 16)))
    return result


def flat(given):
    """The features and log depths of all patches with ground truth, in NumPy."""
    x = np.concatenate([b.features.dense.permute(0, 2, 3, 1).reshape(-1, 5).numpy() for b in given]).astype(float)
    y = np.log(np.concatenate([b.target.flatten().numpy() for b in given])).astype(float)
    return x[np.isfinite(y)], y[np.isfinite(y)]


def test_the_ridge_is_that_of_scikit_learn():
    given = batches()
    probe = RidgeProbe()
    probe.fit_patches(given, Needs(layers=(-1,)))
    x, y = flat(given)
    scaler = StandardScaler().fit(x)
    expected = [Ridge(alpha).fit(scaler.transform(x), y).predict(scaler.transform(x)) for alpha in (1, 10**1.5)]
    dense = [ImageFeatures(b.features.dense) for b in given]
    depth = torch.cat([probe(x, None).depth[b.target.isfinite()] for x, b in zip(dense, given, strict=True)])
    errors = [np.abs(depth.log().numpy() - np.clip(each, y.min(), y.max())).max() for each in expected]
    assert min(errors) < 1e-5


def test_a_network_learns_a_linear_law():
    torch.manual_seed(0)
    given = batches(noise=0.0)
    for probe in (NetworkProbe(hidden=32, dropout=0.0), NetworkProbe((-1,), 32, 0.0)):
        probe.fit_patches(given, Needs(layers=(-1,)))
        learn(probe, given, Needs(layers=(-1,)), None, steps=500, learning_rate=0.02, weight_decay=0.0)
        x = given[0].features.select(Needs(layers=(-1,)), probe.needs)
        depth, target = probe(x, None).depth, given[0].target
        known = target.isfinite()
        assert float((depth[known] / target[known] - 1).abs().mean()) < 0.05


def test_a_probe_must_be_fitted():
    with pytest.raises(InputError, match="RidgeProbe is not fitted"):
        RidgeProbe()(batches()[0].features, None)


def test_nonsense_words_differ_and_depend_on_the_seed():
    words = nonsense(50, 0)
    assert len(set(words)) == 50
    assert words == nonsense(50, 0)
    assert not set(words) & set(nonsense(50, 1))


def test_permuted_words_move_and_keep_their_features(clip):
    encoder = clip("small-resnet", "attention_pool")
    head = DepthHead(Prompts("five"), Bins([1, 2, 3, 4, 5]), temperature=1)
    head.prepare(encoder.text)
    changed = with_prompts(head, PermutedPrompts(head.prompts, 3), encoder.text)
    order = [head.labels.index(label) for label in changed.labels]
    assert all(k != place for place, k in enumerate(order))
    features = encoder.encode_image(torch.rand(1, 3, 64, 96))
    logits = head(features, encoder.text).logits
    torch.testing.assert_close(changed(features, encoder.text).logits, logits[:, order])
    with pytest.raises(InputError, match="prompts has 3 words; use 5"):
        with_prompts(head, Prompts(["near", "mid", "far"]), encoder.text)


def test_the_mean_feature_has_the_mean_direction_and_the_mean_length():
    given = batches()
    x = np.concatenate([b.features.dense.permute(0, 2, 3, 1).reshape(-1, 5).numpy() for b in given])
    expected = x.mean(0) / np.linalg.norm(x.mean(0)) * np.linalg.norm(x, axis=1).mean()
    mean = MeanFeature(NetworkProbe(), given)
    np.testing.assert_allclose(mean.dense.flatten().numpy(), expected, rtol=1e-5)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folder of the experiment on a few rooms."""
    out = tmp_path_factory.mktemp("budget")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert budget.main(["--quick", *SMALL, "--out", str(out)]) == 0
    return out


def test_the_row_of_the_words_is_that_of_the_test(quick, tmp_path):
    logger = {"class_path": "pytorch_lightning.loggers.CSVLogger"}
    logger["init_args"] = {"save_dir": str(tmp_path), "name": "run", "version": ""}
    given = ["test", "-c", "rooms", "--data.test_size=4", f"--trainer.logger={json.dumps(logger)}"]
    assert depthclip_main(given) == 0
    with np.load(tmp_path / "run" / "errors.npz") as file:
        expected = file["errors"][file["rows"].tolist().index("head")]
    with np.load(quick / "errors.npz") as file:
        np.testing.assert_array_equal(file["errors"][file["rows"].tolist().index(WORDS)], expected)


def test_the_experiment_writes_tables_and_a_waterfall(quick):
    rows = json.loads((quick / "results.json").read_text())["rows"]
    assert set(rows) > {rung.name for rung in STEPS}
    figures = {name: row["figures"]["abs_rel"]["value"] for name, row in rows.items()}
    assert figures[PATCHES] <= figures[BINNED] < figures[WORDS] < figures[PERMUTED]
    with np.load(quick / "errors.npz") as file:
        assert file["rows"].tolist().count(PERMUTED) == 5
    table = (quick / "table.md").read_text()
    assert all(f"| {rung.name} |" in table for rung in STEPS)
    assert Image.open(quick / "figure.png").size > (900, 400)


def test_images_without_depth_cannot_be_fitted_to():
    recipe = resolve(["test", "-c", "rooms", "--data.scoring={min_depth: 9.9, max_depth: 9.95}", "--data.test_size=2"])
    model, data = instantiate(recipe)
    with pytest.raises(InputError, match="Rooms has no training image with a valid depth"):
        encode_training(model, data, Needs(), 2)


def test_windows_and_mirrored_views_go_the_same_way():
    view = "--data.view={size: [128, 160], mirror: true, window: [128, 96]}"
    model, data = instantiate(resolve(["test", "-c", "rooms", "--data.test_size=2", "--data.train_size=2", view]))
    given = encode_training(model, data, Needs(), 2)
    windows = data.view.windows(128, 160).count
    assert len(given[0].target) == 2 * windows
    another = AnotherImage(model.head, given, Needs(), data.view, model.encoder.text)
    assert len(another.depths) == 2
    grid = Grid(model, data.view).of((128, 160))
    assert tuple(another.depths[0].shape[-2:]) == grid == (4, 5)


def test_a_ladder_needs_words():
    model, data = instantiate(resolve(["test", "-c", "rooms", "--data.test_size=2"]))
    model.head = RidgeProbe()
    with pytest.raises(InputError, match=r"head RidgeProbe has no words and bins; use a DepthHead"):
        build_ladder(model, data)


@pytest.mark.parametrize("option", ["--resume", "--devices=2", "--wandb"])
def test_options_of_several_passes_are_refused(option, tmp_path, capsys):
    assert budget.main(["--quick", option, "--out", str(tmp_path)]) == 2
    assert "leave out --resume, --devices and --wandb" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        ["--quick", "--data", "configs/data/seven_scenes.yaml", "--set", "data.root=data/seven_scenes"],
        ["--data", "configs/data/kitti.yaml", "--model", "configs/model/kitti_log.yaml"],
    ],
)
def test_the_commands_of_the_page_are_accepted(given, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert " ".join(given) in (ROOT / "docs" / "budget.md").read_text()
    assert budget.main([*given, "--dry-run"]) == 0
    assert f"{PATCHES}: {STEPS[0].isolates}" in capsys.readouterr().out


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the sample of 7-Scenes")
@pytest.mark.slow
def test_photographs_with_invalid_depth(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    given = [
        "--data",
        "configs/data/seven_scenes.yaml",
        f"--set=data.root={SAMPLES}",
        "--set=data.loading.num_workers=0",
    ]
    assert budget.main(["--quick", *given, "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    figures = {name: row["figures"]["abs_rel"]["value"] for name, row in rows.items()}
    assert figures[PATCHES] < 0.05 < figures[LEARNED] < figures[WORDS]
