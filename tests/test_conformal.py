"""Conformal intervals: the quantile by its definition, their coverage, and the stages that calibrate and test them."""

import json

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer

from depthclip import Bins, DepthCLIP, DepthHead, Prompts, evaluate
from depthclip.__main__ import main
from depthclip.data import Loading, Rooms
from depthclip.errors import InputError
from depthclip.evaluation.conformal import Conformal
from depthclip.fitting import checkpoint_callbacks
from depthclip.head import LearnedBins, LearnedWords
from experiments import intervals as experiment
from tests.test_uncertainty import Silent, photo

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def tensor(values):
    return torch.tensor(values, dtype=torch.float32)


def images(count, seed=0, scenes=None, shift=0.0):
    """Predictions, targets and spreads of images of 50 to 300 pixels, whose errors differ from image to image."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        pixels = rng.integers(50, 300)
        target, spread = rng.uniform(2, 8, (2, pixels))
        error = rng.gamma(2, 0.1 + shift) * rng.normal(size=pixels)
        yield target + error, target, spread, f"scene {k % scenes}" if scenes else ""


def calibrated(intervals, given):
    for prediction, target, spread, scene in given:
        intervals.update(tensor(prediction), tensor(target), tensor(spread), scene)
    intervals.compute()
    return intervals


def quantile_of(units, level):
    """The smallest score that has the mass `level`, of units, each with scores and their shares (Lee et al.)."""
    scores = np.concatenate([scores for scores, _ in units])
    masses = np.concatenate([shares for _, shares in units]) / (len(units) + 1)
    order = np.argsort(scores)
    return scores[order][np.searchsorted(np.cumsum(masses[order]), level)]


@pytest.mark.parametrize("score", ["absolute", "relative", "spread"])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_quantile_of_images_is_that_of_the_definition(score, level):
    given = list(images(40))
    widths = {"absolute": lambda p, s: 1, "relative": lambda p, s: p, "spread": lambda p, s: s}
    units = [(abs(t - p) / widths[score](p, s), np.full(len(t), 1 / len(t))) for p, t, s, _ in given]
    expected = quantile_of(units, level)
    found = calibrated(Conformal(level, "image", score, floor=0.001), given)
    assert int(found.units) == 40
    assert expected * (1 - 1e-6) <= found.quantile.item() <= expected * 1.0012
    p, s = np.array([4.0, 0.5]), np.array([2.0, 3.0])
    low, high = found.bounds(tensor(p), tensor(s))
    reach = found.quantile.item() * np.array({"absolute": [1, 1], "relative": [4, 0.5], "spread": [2, 3]}[score])
    np.testing.assert_allclose(low, np.maximum(p - reach, 0), rtol=1e-5)
    np.testing.assert_allclose(high, p + reach, rtol=1e-5)


def test_the_images_of_a_scene_share_its_mass():
    given = list(images(45, scenes=12))
    units = []
    for name in sorted({scene for *_, scene in given}):
        own = [(abs(t - p), len(t)) for p, t, _, scene in given if scene == name]
        units.append(
            (np.concatenate([e for e, _ in own]), np.concatenate([np.full(n, 1 / n / len(own)) for _, n in own]))
        )
    found = calibrated(Conformal(0.9, "scene", "absolute"), given)
    assert int(found.units) == 12
    assert found.quantile.item() == pytest.approx(quantile_of(units, 0.9), rel=1.2e-3)


def test_coverage_is_nominal_on_exchangeable_images_and_lower_after_a_shift():
    covered, shifted = [], []
    for seed in range(150):
        intervals = calibrated(Conformal(0.9, score="absolute"), images(19, seed))
        for shift, shares in ((0.0, covered), (0.1, shifted)):
            for prediction, target, *_ in images(10, 10_000 + seed, shift=shift):
                low, high = intervals.bounds(tensor(prediction), None)
                shares.append(((low <= tensor(target)) & (tensor(target) <= high)).float().mean())
    # at least 0.9, and at most 1 / 20 more
    assert 0.89 <= np.mean(covered) <= 0.96
    assert np.mean(shifted) < 0.85


@pytest.mark.parametrize(("level", "units"), [(0.9, 9), (0.5, 1), (0.95, 19), (0.99, 99)])
def test_the_fewest_units_of_a_level(level, units):
    assert Conformal(level).fewest_units == units
    calibrated(Conformal(level, score="absolute"), images(units))
    if units > 1:
        with pytest.raises(InputError, match=f"level {level}.*at least {units} images.*there are {units - 1}"):
            calibrated(Conformal(level, score="absolute"), images(units - 1))


def test_images_without_pixels_are_no_units():
    intervals = Conformal(0.5, score="absolute")
    empty = (np.ones(0), np.ones(0), np.ones(0), "")
    assert int(calibrated(intervals, [empty, *images(3), empty]).units) == 3


# ---- with a model


def rooms(**changes):
    sizes = {"train_size": 2, "val_size": 5, "test_size": 4} | changes
    return Rooms(**sizes, loading=Loading(batch_size=2), view="whole")


def model(clip, intervals, head=None, **more):
    return DepthCLIP(
        clip("small-vit", "tokens"), head or DepthHead(Prompts(), Bins()), panels=0, intervals=intervals, **more
    )


@pytest.mark.parametrize("score", ["relative", "spread"])
def test_test_calibrates_on_validation_images_and_scores_the_head(clip, tmp_path, score):
    one = model(clip, Conformal(0.8, score=score), variants={"other": DepthHead(Prompts(), Bins(), 1.0)})
    figures = evaluate(one, rooms(), tmp_path / "test", accelerator="cpu")
    assert int(one.intervals.units) == 5
    assert "coverage" not in figures["other"]
    assert "coverage" not in figures["random"]
    # the same intervals by infer, at the size of the image
    shares, widths = [], []
    data = rooms().samples("test")
    for k in range(4):
        maps = one.infer(data[k].image.permute(1, 2, 0).numpy(), mirror=False, uncertainty=True)
        truth = data[k].depth.numpy()
        shares.append(((maps.low <= truth) & (truth <= maps.high)).mean())
        widths.append((maps.high - maps.low).mean())
    assert figures["head"]["coverage"] == pytest.approx(np.mean(shares), abs=1e-4)
    assert figures["head"]["width"] == pytest.approx(np.mean(widths), rel=1e-4)
    again = model(clip, Conformal(0.8, score=score))
    Trainer(default_root_dir=tmp_path, enable_checkpointing=False, **QUIET).validate(again, rooms(), verbose=False)
    assert again.intervals.quantile == one.intervals.quantile
    assert json.loads((tmp_path / "test/metrics.json").read_text())["figures"]["head"] == figures["head"]


def test_checkpoints_of_fit_and_save_checkpoint_hold_the_intervals(clip, tmp_path):
    def learned(**changes):
        head = DepthHead(LearnedWords(3), LearnedBins([1, 3, 6]))
        return model(clip, Conformal(**{"level": 0.8} | changes), head)

    one = learned()
    trainer = Trainer(default_root_dir=tmp_path, max_epochs=2, callbacks=checkpoint_callbacks(), **QUIET)
    trainer.fit(one, rooms())
    last = trainer.checkpoint_callbacks[1].best_model_path
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    for path in (last, tmp_path / "saved.ckpt"):
        loaded = learned().load_learned(path)
        assert loaded.intervals.quantile == one.intervals.quantile > 0
        maps = loaded.infer(photo(), uncertainty=True)
        assert (maps.low >= 0).all()
        assert (maps.low < maps.depth).all()
        assert (maps.depth < maps.high).all()
    # other intervals are calibrated again, and a model without intervals leaves them out
    assert not learned(level=0.5).load_learned(last).intervals.calibrated
    plain = model(clip, None, DepthHead(LearnedWords(3), LearnedBins([1, 3, 6]))).load_learned(last)
    trainer.strategy.connect(plain)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    assert not learned().load_learned(tmp_path / "plain.ckpt").intervals.calibrated


FEW = ["--data.train_size=4", "--data.val_size=4", "--data.test_size=3", "--model.panels=1"]
SMALL = ["-c", "rooms", *FEW, "--data.view.size=[64,96]", "--trainer.accelerator=cpu", "--model.training_images=2"]


def test_the_command_line_fits_loads_and_tests_intervals(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    learned = ["--model.head.learn_temperature=true", "--trainer.max_epochs=1", "--model.intervals.level=0.75"]
    assert main(["fit", *SMALL, *learned, "--name", "fit"]) == 0, capsys.readouterr()
    path = "runs/fit/version_0/checkpoints/best.ckpt"
    loaded = DepthCLIP.load(path)
    assert int(loaded.intervals.units) == 4
    assert loaded.infer(photo(), uncertainty=True).high is not None
    assert main(["test", "--ckpt_path", path, "--name", "test"]) == 0, capsys.readouterr()
    printed = capsys.readouterr().out
    assert "coverage↑" in printed
    assert "width↓" in printed


def test_too_few_images_or_scenes_are_an_error_before_the_work(clip, tmp_path):
    trainer = Trainer(default_root_dir=tmp_path, max_epochs=1, enable_checkpointing=False, **QUIET)
    head = DepthHead(LearnedWords(3), LearnedBins([1, 3, 6]))
    for run in (trainer.test, trainer.validate, trainer.fit):
        for unit, count in (("image", 5), ("scene", r"\d")):
            with pytest.raises(InputError, match=f"level 0.9 needs at least 9 {unit}s.*there are {count};.*use more"):
                run(model(clip, Conformal(unit=unit), head), rooms())


def test_what_intervals_exclude(clip, tmp_path):
    with pytest.raises(InputError, match=r"score spread.*neither; use relative"):
        evaluate(model(clip, Conformal(0.5, score="spread"), Silent()), rooms(), tmp_path, accelerator="cpu")
    data = rooms()
    data.scoring = type(data.scoring)(alignment="median")
    with pytest.raises(InputError, match=r"alignment median.*intervals to null"):
        evaluate(model(clip, Conformal(0.5)), data, tmp_path, accelerator="cpu")


@pytest.mark.slow
def test_the_experiment_shows_where_intervals_hold_and_fail(tmp_path, capsys):
    experiment.main(["--rooms", "30", "--out", str(tmp_path)])
    table = (tmp_path / "table.md").read_text()
    assert table.strip() in capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "±" in line]
    coverage = {(name, score): float(shares.split()[0]) for name, score, shares, *_ in cells}
    assert len(coverage) == 15
    assert coverage["small rooms", "absolute"] > 0.82
    assert coverage["small rooms to halls", "absolute"] < 0.85
    assert coverage["small rooms to corridors", "absolute"] < coverage["small rooms", "absolute"] - 0.05
    assert coverage["corridors to small rooms", "absolute"] > 0.97
