"""`score` on what `predict` wrote equals `test`; several rows in one pass; compare, studies and the command line."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from depthclip.__main__ import main
from depthclip.data.splits import kitti_eigen
from depthclip.score import by_row, named
from tests.layouts import picture, values, write_image
from tests.test_cli import recipe
from tests.test_commands import ROOT, commands
from tests.test_kitti import depth_path, image_path

ROOMS = {"class_path": "depthclip.data.Rooms", "init_args": {"train_size": 4, "val_size": 1, "test_size": 5}}
BASELINES = ["random", "best constant (oracle)"]


def run_of(name, version=0):
    folder = Path(f"runs/{name}/version_{version}")
    with np.load(folder / "errors.npz") as file:
        arrays = dict(file)
    return json.loads((folder / "metrics.json").read_text()), arrays


def errors_of(arrays, row):
    return arrays["errors"][arrays["rows"].tolist().index(row)]


def twice(path):
    """Run `predict` in both formats, `test`, and `score` on each format; return the errors of all."""
    assert main(["predict", "-c", path, "--output", "depth", "--formats", "[png,npy]"]) == 0
    assert main(["test", "-c", path]) == 0
    rows = ["--predictions", "npy=depth", "--predictions", "png=depth", "--suffix", "npy=.npy", "--suffix", "png=.png"]
    assert main(["score", *rows, "-c", path]) == 0
    test, scored = run_of("small"), run_of("score")
    for key in ("image", "scene", "pixels", "error"):
        assert test[1][key].tolist() == scored[1][key].tolist()
    np.testing.assert_array_equal(errors_of(test[1], "random"), errors_of(scored[1], "random"))
    assert list(scored[0]["baselines"]) == BASELINES
    for name in BASELINES:
        assert scored[0]["baselines"][name] == pytest.approx(test[0]["baselines"][name], rel=1e-12)
    return errors_of(test[1], "head"), errors_of(scored[1], "npy"), errors_of(scored[1], "png")


@pytest.mark.parametrize("view", ["whole", {"crop": [8, 8, 104, 152], "size": [64, 96], "mirror": True}])
def test_predict_then_score_equals_test(small, tmp_path, monkeypatch, view):
    monkeypatch.chdir(tmp_path)
    data = {**ROOMS, "init_args": {**ROOMS["init_args"], "view": view}}
    test, npy, png = twice(recipe(tmp_path, data=data))
    np.testing.assert_allclose(npy, test, rtol=0, atol=1e-6)
    np.testing.assert_allclose(png[:, :6], test[:, :6], rtol=2e-3, atol=2e-3)  # half a millimetre in a metre and more
    assert not np.array_equal(png, npy)


@pytest.mark.filterwarnings("ignore:.*images of the official 652")
def test_80_metres_of_kitti_survive(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for frame in [frame for frame in kitti_eigen("test") if frame.annotated][:2]:
        write_image(tmp_path / image_path(frame.frame), picture(frame.frame, 375, 1242))
        write_image(tmp_path / depth_path(frame.frame), values(frame.frame, 375, 1242))
    data = {"class_path": "depthclip.data.KITTI", "init_args": {"root": ".", "allow_partial": True}}
    path = Path(recipe(tmp_path, data=data))
    content = yaml.safe_load(path.read_text())
    content["model"]["head"]["bins"]["values"] = [80, 80.001, 80.002, 80.003, 80.004, 80.005, 80.006]
    path.write_text(yaml.safe_dump(content))
    test, npy, png = twice(str(path))
    np.testing.assert_allclose(npy, test, rtol=0, atol=1e-6)
    np.testing.assert_allclose(png, test, rtol=1e-4, atol=1e-4)
    maps = json.loads(Path("depth/index.json").read_text())["maps"]
    stated = {name: entry["depth_scale"] for name, entry in maps.items()}
    assert sorted(stated.values()) == [1, 1, 500, 500]
    png = np.array(Image.open(Path("depth", next(name for name in stated if name.endswith(".png")))))
    assert (png.shape, png.dtype) == ((352, 1216), np.uint16)
    assert np.abs(png / 500 - 80).max() < 0.01


def test_predict_completes_a_folder_in_another_format(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["predict", "-c", recipe(tmp_path, data=ROOMS), "--output", "depth"]
    assert main(given) == 0
    assert not list(Path("depth").glob("*.npy"))
    assert main([*given, "--formats", "[npy]"]) == 0
    assert "5 depth maps with pictures are in depth: .npy, float32 metres" in capsys.readouterr().out
    index = json.loads(Path("depth/index.json").read_text())["maps"]
    assert len(index) == 10  # with the PNG files of the first run
    arrays = {path.name: path.stat().st_mtime_ns for path in Path("depth").glob("*.npy")}
    first = min(arrays)
    Path("depth", first).unlink()
    assert main([*given, "--formats", "[png,npy]"]) == 0
    assert "4 were there already" in capsys.readouterr().out
    after = {path.name: path.stat().st_mtime_ns for path in Path("depth").glob("*.npy")}
    assert {name for name in arrays if arrays[name] != after[name]} == {first}
    assert sorted(json.loads(Path("depth/index.json").read_text())["maps"]) == sorted(
        [*arrays, *(name.replace(".npy", ".png") for name in arrays)]
    )
    for name in arrays:
        array, png = np.load(Path("depth", name)), np.array(Image.open(Path("depth", name).with_suffix(".png")))
        assert (array.dtype, array.shape) == (np.float32, (120, 160))
        assert np.abs(array - png / 1000).max() <= 0.0005 + 1e-6


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """A recipe with three images, and two methods: exact truth in metres, and truth with 10 % error as PNG."""
    monkeypatch.chdir(tmp_path)
    for k in range(3):
        depth = np.where(values(k) > 0, values(k), 3000)
        write_image(tmp_path / f"images/{k}.jpg", picture(k))
        write_image(tmp_path / f"images/{k}.png", depth.astype(np.uint16))
        Path("exact").mkdir(exist_ok=True)
        np.save(f"exact/{k}.npy", (depth / 1000).astype(np.float32))
        write_image(tmp_path / f"off/{k}.png", np.round(depth * 0.11).astype(np.uint16))
    where = {"root": "images", "image_pattern": "*.jpg", "depth_pattern": "*.png"}
    return recipe(tmp_path, data={"class_path": "depthclip.data.Pairs", "init_args": where})


METHODS = ["--predictions", "exact", "--predictions", "off=off", "--scale", "off=100"]


def test_two_methods_in_one_table_and_compare(pairs, capsys):
    published = {"them": {"abs_rel": 0.1}}
    options = ["--model.published", json.dumps(published), "--model.training_baselines", "false", "--name", "mine"]
    assert main(["score", *METHODS, "-c", pairs, *options, "--model.panels", "2"]) == 0
    printed = capsys.readouterr().out
    rows = [printed.index(name) for name in ("exact", "off", "random", "best constant", "them (published)")]
    assert rows == sorted(rows)
    metrics, _ = run_of("mine")
    assert list(metrics["figures"]) == ["exact", "off"]
    assert metrics["figures"]["exact"]["abs_rel"] < 1e-6
    assert metrics["figures"]["exact"]["delta1"] == 1
    assert metrics["figures"]["off"]["abs_rel"] == pytest.approx(0.1, abs=0.005)
    assert list(metrics["baselines"]) == BASELINES
    assert metrics["recipe"]["predictions"][1]["scale"] == 100
    for file in ("panel.png", "variants.png"):
        assert Path("runs/mine/version_0", file).stat().st_size > 1000
    assert main(["compare", "runs/mine/version_0", "--out", "results"]) == 0
    assert "off" in Path("results/table.md").read_text()


def test_alignments_in_the_same_pass(pairs):
    aligned = ["--model.alignments", "[scale]", "--data.scoring.alignment", "none"]
    assert main(["score", *METHODS, "-c", pairs, *aligned]) == 0
    metrics, _ = run_of("score")
    assert metrics["alignment"] == "none"
    assert metrics["aligned"]["scale"]["off"]["abs_rel"] < 0.01 < metrics["figures"]["off"]["abs_rel"]


def test_predictions_are_rows_of_test(small, pairs):
    rows = [{"class_path": "Predicted", "init_args": {"name": "zoe", "folder": "off", "scale": 100}}]
    assert main(["test", "-c", pairs, "--model.baselines", json.dumps(rows)]) == 0
    assert main(["score", *METHODS, "-c", pairs]) == 0
    test, scored = run_of("small"), run_of("score")
    np.testing.assert_array_equal(errors_of(test[1], "zoe"), errors_of(scored[1], "off"))
    assert list(test[0]["baselines"]) == ["random", "zoe", "best constant (oracle)"]


def test_the_data_may_be_given_without_a_recipe(pairs):
    data = yaml.safe_load(Path(pairs).read_text())["data"]["init_args"]
    options = [f"--data.{key}={value}" for key, value in data.items()]
    assert main(["score", *METHODS, "--data", "Pairs", *options]) == 0
    assert list(run_of("score")[0]["figures"]) == ["exact", "off"]


def test_rows_and_their_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    assert named(["out/zoe", "x=y/z", "a=b"]) == {"zoe": "out/zoe", "x": "y/z", "a=b": "a=b"}
    assert by_row("--scale", ["256"], ["a", "b"]) == {"a": "256", "b": "256"}
    assert by_row("--scale", ["b=256"], ["a", "b"]) == {"b": "256"}


def test_the_help_needs_no_heavy_imports(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "depthclip.cli", None)
    with pytest.raises(SystemExit) as ended:
        main(["score", "--help"])
    assert ended.value.code == 0
    assert "--predictions DIR" in capsys.readouterr().out


def test_the_commands_of_the_page(small, pairs, tmp_path):
    """Each command of docs/score.md runs on small files in its places."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    Path("configs/nyu_released.yaml").write_text(Path(pairs).read_text())
    (tmp_path / "out").mkdir()
    for folder, name in (("exact", "zoe"), ("off", "marigold")):
        shutil.copytree(folder, Path("out", name))
    ran = [line for line in commands(ROOT / "docs/score.md") if "-m depthclip " in line]
    assert len(ran) >= 4
    for line in ran:
        arguments = shlex.split(line.partition("-m depthclip ")[2].replace("data/nyu", "images"))
        assert main(arguments) == 0, line
