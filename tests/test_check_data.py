"""The check of a data set reads every sample, reports errors, and exits with 1 if there are any."""

import re
from pathlib import Path

import numpy as np
import pytest

from depthclip.data.check import main
from experiments.loading_speed import main as loading_speed
from tests.layouts import SAMPLES, picture, values, write_image, write_pair

RECIPES = Path(__file__).parents[1] / "configs" / "data"


@pytest.fixture
def arguments(tmp_path):
    """Five pairs, and the command line that checks them."""
    for index in range(5):
        write_pair(tmp_path / "rgb" / f"{index}.png", tmp_path / "depth" / f"{index}.png", index)
    pairs = ["--data", "Pairs", "--data.root", str(tmp_path), "--data.image_pattern", "rgb/*.png"]
    return tmp_path, [*pairs, "--data.depth_pattern", "depth/*.png", "--out", str(tmp_path / "out")]


def test_all_is_well(arguments, capsys):
    root, given = arguments
    assert main(given) == 0
    printed = capsys.readouterr().out
    depth = np.stack([values(index) for index in range(5)])
    assert "test: 5 images" in printed
    assert "5 of 24 x 32, depth 24 x 32" in printed
    assert f"{(depth > 0).mean():.1%}" in printed
    assert f"{depth[depth > 0].min() / 1000:.3f} to {depth.max() / 1000:.3f} m" in printed
    share = ((depth >= 1000) & (depth < 2000)).sum() / (depth > 0).sum()
    assert f"{share:.1%}" in printed.split("1 to 2 m")[1].split("\n")[0]
    assert (root / "out" / "pairs_test.png").stat().st_size > 5000


def test_what_is_wrong_is_said(arguments, capsys):
    root, given = arguments
    (root / "depth" / "1.png").write_bytes(b"")
    write_image(root / "depth" / "3.png", picture(0)[..., 0])
    write_image(root / "depth" / "4.png", np.zeros((24, 32), np.uint16))
    assert main(given) == 1
    printed = capsys.readouterr().out
    assert "unreadable: 2" in printed
    assert f"{root / 'depth' / '1.png'}" in printed
    assert f"{root / 'depth' / '3.png'}" in printed
    assert "no pixel to score: 1" in printed
    assert "rgb/4.png" in printed
    assert "something is wrong" in printed


def test_what_is_not_there_is_wrong(tmp_path, capsys):
    assert main(["--data", "NYU", "--data.root", str(tmp_path), "--splits", "[test]"]) == 1
    assert "nyu_depth_v2_labeled.mat" in capsys.readouterr().out.replace("\n", "")


def test_a_view_that_does_not_fit_is_wrong(arguments, capsys):
    _, given = arguments
    assert main([*given, "--data.view.crop", "kb"]) == 1
    assert "does not fit an image of 24 x 32" in capsys.readouterr().out


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/samples")
def test_the_recipe_of_seven_scenes(tmp_path, capsys):
    recipe = ["-c", str(RECIPES / "seven_scenes.yaml"), "--data.root", str(SAMPLES / "seven_scenes")]
    assert main([*recipe, "--splits", "[test]", "--data.loading.num_workers", "0", "--out", str(tmp_path)]) == 0
    assert "19 of 480 x 640" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_a_data_module(recipe, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where none of the data is
    assert main(["-c", str(recipe), "--splits", "[test]", "--out", str(tmp_path)]) == 1
    assert "something is wrong" in capsys.readouterr().out


def test_loading_is_timed_beside_plain_decoding(arguments, capsys):
    _, given = arguments
    assert loading_speed([*given[:-2], "--count", "3"]) == 0
    assert re.search(r"[\d.]+ images/s loaded, [\d.]+ images/s plainly decoded \(\d+%\)", capsys.readouterr().out)


def test_arguments_that_are_refused_are_one_sentence(capsys):
    assert main(["--data", "Pairs", "--data.root", "none", "--data.loading.batch_size", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: loading.batch_size 0")
