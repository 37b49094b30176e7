"""Studies: intervals against formulas, what shares an image pass, results that survive kill -9, the paper's table."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthclip.evaluation.metrics import ERRORS
from experiments import few_shot, prompt_words, reproduce, temperature
from experiments.plan import StudyError, Variant, plan
from experiments.results import Scored, compare, distinct, draw_means, unit_of
from experiments.study import arguments_of, main, parse

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def root(monkeypatch):
    """Studies run in the root of the repository."""
    monkeypatch.chdir(ROOT)


def scored(errors, scenes=None):
    errors = np.repeat(np.asarray(errors, dtype=float)[:, None], len(ERRORS), 1)
    return Scored(errors, tuple(map(str, range(len(errors)))), tuple(scenes or [""] * len(errors)))


def test_interval_is_that_of_the_normal_distribution():
    errors = np.random.default_rng(1).normal(0.3, 0.1, 400)
    row = compare("a", False, [scored(errors)], None, {})
    reach = 1.96 * errors.std() / np.sqrt(400)
    assert row.figures["abs_rel"].low == pytest.approx(errors.mean() - reach, abs=0.1 * reach)
    assert row.figures["abs_rel"].high == pytest.approx(errors.mean() + reach, abs=0.1 * reach)


def test_scenes_are_drawn_whole_where_there_are_ten():
    means = np.random.default_rng(1).normal(0.3, 0.1, 40)
    errors, scenes = np.repeat(means, 25), [f"drive {k // 25}" for k in range(1000)]
    assert unit_of(scored(errors, scenes))[0] == "scenes"
    drawn = draw_means([scored(errors, scenes)])[:, 0]
    assert drawn.std() == pytest.approx(means.std() / np.sqrt(40), rel=0.1)
    assert unit_of(scored(errors, [name[-1] for name in scenes][:9] * 111 + ["0"]))[0] == "images"


def test_differences_are_paired():
    errors = np.random.default_rng(1).normal(0.3, 0.1, 50)
    first = compare("a", False, [scored(errors)], None, {})
    worse = compare("b", False, [scored(errors + 0.01)], first, {}).difference["abs_rel"]
    assert (worse.low, worse.value, worse.high) == pytest.approx((0.01, 0.01, 0.01))
    assert compare("b", False, [scored(errors + 0.01)], first, {}).verdict == "worse"
    assert compare("b", False, [scored(errors)], first, {}).verdict == "no clear difference"


def test_skipped_images_do_not_count():
    row = compare("a", False, [scored([0.1, np.nan, 0.3])], None, {})
    assert row.figures["rmse"].value == pytest.approx(0.2)
    assert row.figures["rmse"].low >= 0.1


def test_baselines_that_differ_are_told_apart():
    one, other = scored([0.1, 0.2]), scored([0.3, 0.4])
    assert list(distinct("map", [("a", one), ("b", one)])) == ["map"]
    assert list(distinct("map", [("a", one), ("b", other), ("c", one)])) == ["map, a", "map, b"]


def passes_of(study, args=()):
    options = parse(study, ["--quick", *args])
    return plan(study.variants(options, {}), lambda one: arguments_of(study, options, one), options.out)


def test_variants_share_an_image_pass_unless_they_differ_in_more_than_the_head():
    own = [
        Variant("a"),
        Variant("b, 0.5", {"model.head.temperature": 0.5}),
        Variant("c", {"model.encoder.readout": "crops"}),
        Variant("d", {"model.head.bins": {"class_path": "depthclip.head.LearnedBins"}}, learn=True),
    ]
    passes = passes_of(replace(temperature.STUDY, variants=lambda options, head: own))
    assert [[variant.name for variant in one.variants] for one in passes] == [["a", "b, 0.5"], ["c"], ["d"]]
    assert all(one.recipe["name"].startswith("run-") for one in passes)  # 465e95993509 is a number to YAML
    assert passes[0].recipe["model"]["variants"]["b, 0.5"]["init_args"]["temperature"] == 0.5
    assert "experiments.learn" in passes[2].command(None)


def test_settings_that_are_refused_name_themselves():
    wrong = replace(temperature.STUDY, variants=lambda options, head: [Variant("a", {"model.head.sharpness": 1})])
    with pytest.raises(StudyError, match=r"sharpness.*is refused.*sharpness"):
        passes_of(wrong)


def test_dry_run_prints_commands_that_can_be_run_and_runs_nothing(tmp_path, capsys):
    assert main(temperature.STUDY, ["--quick", "--dry-run", "--out", str(tmp_path)]) == 0
    command = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("python -m depthclip test"))
    assert Path(command.split()[-1]).is_file()
    assert not (tmp_path / "runs").exists()


def test_another_folder_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(temperature.STUDY, ["--quick"]) == 2
    assert "run studies in the root of the repository" in capsys.readouterr().out


def test_few_shot_averages_over_seeds():
    options = parse(few_shot.STUDY, ["--quick"])
    bins = {"class_path": "depthclip.Bins", "init_args": {"values": "depthclip"}}
    head = {"prompts": {"class_path": "depthclip.Prompts", "init_args": {"words": "depthclip"}}, "bins": bins}
    rows = [variant.row for variant in few_shot.variants(options, head)]
    assert all(rows.count(few_shot.row_of(shots)) == 3 for shots in few_shot.SHOTS)


def command(out, *more):
    small = [f"--set=data.{split}_size={size}" for split, size in (("test", 3), ("train", 2))]
    small.append("--set=model.panels=0")
    return [sys.executable, "-m", "experiments.prompt_words", "--quick", *small, "--out", str(out), *more]


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole), check=True, capture_output=True)

    process = subprocess.Popen(command(broken), stdout=subprocess.DEVNULL)
    while not (finished := list(broken.glob("runs/*/finished.json"))):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (broken / "table.md").exists()
    before = finished[0].stat().st_mtime_ns

    done = subprocess.run(command(broken, "--resume"), check=True, capture_output=True, text=True)
    assert "1 of 2 image passes finished before" in done.stdout
    assert finished[0].stat().st_mtime_ns == before
    for name in ("table.md", "table.csv"):
        assert (broken / name).read_text() == (whole / name).read_text()

    # against the errors themselves
    with (whole / "table.csv").open(newline="") as file:
        rows = {(row["row"], row["error"]): float(row["value"]) for row in csv.DictReader(file)}
    errors = np.load(whole / "errors.npz")
    assert rows["crops: five", "rmse"] == pytest.approx(errors["crops: five"][0, :, ERRORS.index("rmse")].mean())
    found = json.loads((whole / "results.json").read_text())
    assert len(found["runs"]) == 2
    assert len(found["rows"]) == 2 * 9 + 3
    assert Image.open(whole / "figure.png").size > (600, 300)


@pytest.fixture
def nyu(tmp_path):
    """Two images and depth maps of NYU's size with a list file."""
    rng = np.random.default_rng(0)
    for k in range(2):
        Image.fromarray(rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)).save(tmp_path / f"rgb_{k}.jpg")
        Image.fromarray(rng.integers(500, 9000, (480, 640)).astype(np.uint16)).save(tmp_path / f"depth_{k}.png")
    (tmp_path / "test.txt").write_text("".join(f"/rgb_{k}.jpg /depth_{k}.png 518.8579\n" for k in range(2)))
    return tmp_path


def test_reproduce_goes_the_same_way_with_golden_weights(tmp_path, golden_weights, nyu):
    data = [f"--set=data.root={nyu}", f"--set=data.test_list={nyu / 'test.txt'}", "--set=data.allow_partial=true"]
    weights = f"--set=model.encoder.pretrained={golden_weights}"
    assert main(reproduce.STUDY, [*data, weights, "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| abs_rel |" in text
    assert "0.388" in text
    assert "FAIL" in text  # the weights are random


def test_reproduce_says_what_to_fetch_and_where(tmp_path, golden_weights, capsys):
    given = [f"--set=model.encoder.pretrained={golden_weights}", f"--set=data.root={tmp_path / 'none'}"]
    assert main(reproduce.STUDY, [*given, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().out
    assert "nyu_depth_v2_labeled.mat" in said
    assert "data/nyu" in said


@pytest.mark.network
def test_published_figures_are_reproduced(tmp_path):
    assert main(reproduce.STUDY, ["--out", str(tmp_path)]) == 0
    measured = json.loads((tmp_path / "results.json").read_text())["rows"]["measured"]["figures"]
    for error, published in prompt_words.PUBLISHED["depthclip"].items():
        assert measured[error]["value"] == pytest.approx(published, rel=reproduce.TOLERANCE), error
