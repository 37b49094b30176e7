"""The command `predict`: photographs as people name them, panels, maps of uncertainty and point clouds."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pytorch_lightning import Trainer

from depthclip.__main__ import main
from depthclip.arguments import prepare
from depthclip.cli import run
from depthclip.clouds import points_of
from depthclip.data import Photos
from depthclip.data.raycast.render import draw_room
from depthclip.depth_files import DepthFolder
from depthclip.depth_writer import DepthWriter
from depthclip.errors import InputError
from depthclip.file_names import file_names
from depthclip.predictions.matching import list_maps
from depthclip.shown import Prediction
from tests.layouts import picture
from tests.test_commands import ROOT, commands

pytestmark = pytest.mark.filterwarnings("ignore:pretrained is null", "ignore:skipped", "ignore:.*were skipped")

QUIET = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false"]
MODEL = {
    "encoder": {"name": "small-resnet", "pretrained": None, "readout": "attention_pool"},
    "head": {"prompts": {"words": "five"}, "bins": {"values": [1, 2, 3, 4, 6]}},
    "max_side": 96,
    "panels": 0,
}
NYU = {
    "class_path": "depthclip.data.NYU",
    "init_args": {"root": ".", "test_list": "x.txt", "loading": {"batch_size": 8, "num_workers": 2}},
}


@pytest.fixture
def place(tmp_path, monkeypatch, small):
    """A folder with photographs in two folders and a recipe of a benchmark with a small model."""
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(("a.jpg", "in/a.jpg", "in/IMG_2.jpg", "in/IMG_2.png", "in/b c.jpg")):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture(index, 120, 160)).save(name)
    Path("run.yaml").write_text(yaml.safe_dump({"model": MODEL, "data": NYU}))
    return tmp_path


def data_of(given):
    """Return the options of the command line that the parser gets, and the images in --data."""
    args, _ = prepare(["predict", *given])
    place = args.index("--data")
    section = json.loads(args[place + 1])
    return args[:place] + args[place + 2 :], section["init_args"].get("images")


@pytest.mark.parametrize(
    ("given", "rest", "images"),
    [
        (["a.jpg", "-c", "x.yaml"], ["-c", "x.yaml"], ["a.jpg"]),
        (["-c", "x.yaml", "a.jpg", "in"], ["-c", "x.yaml"], ["a.jpg", "in"]),
        (["in/*.jpg", "--overwrite", "a.jpg"], ["--overwrite"], ["in/*.jpg", "a.jpg"]),
        (["--name=x", "a.jpg", "--", "-b.jpg", "--c.jpg"], ["--name=x"], ["a.jpg", "-b.jpg", "--c.jpg"]),
        (["--data", "Photos", "--data.images", "[b]"], ["--data.images", "[b]"], None),
    ],
)
def test_photographs_beside_options(tmp_path, monkeypatch, given, rest, images):
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").touch()
    assert data_of(given) == (["predict", *rest], images)


def test_a_name_that_is_not_utf8_is_read_by_the_pattern_in_the_message(place):
    os.rename("a.jpg", b"bad\xff.jpg")
    with pytest.raises(InputError, match=r"photograph bad\\udcff.jpg is not UTF-8; .* the pattern 'bad\?.jpg'$"):
        predict(os.fsdecode(b"bad\xff.jpg"), "-c", "run.yaml")
    predict("bad?.jpg", "-c", "run.yaml")
    assert Path(os.fsdecode(b"out/bad\xff.png")).exists()


def test_photographs_come_after_recipes_and_before_options():
    args, _ = prepare(["predict", "a.jpg", "--data.view", "whole", "-c", "rooms", "--data.view.mirror", "true"])
    assert args.index("-c") < args.index("--data") < args.index("--data.view.mirror")
    assert prepare(["test", "a.jpg"])[0] == ["test", "a.jpg"]


def predict(*given):
    """Predict into `out` and return the command line's interface."""
    return run(["predict", *given, "--output", "out", *QUIET])


def test_predict_equals_infer_whatever_the_recipe(place):
    model = predict("a.jpg", "in", "-c", "run.yaml", "--formats", "[npy]").model
    names = {"a.jpg": "a", "in/a.jpg": "in_a", "in/b c.jpg": "in_b c"}
    names |= {f"in/IMG_2.{suffix}": f"in_IMG_2.{suffix}" for suffix in ("jpg", "png")}
    assert {path.name for path in Path("out").glob("*.npy")} == {f"{name}.npy" for name in names.values()}
    for photo, name in names.items():
        depth = np.load(f"out/{name}.npy")
        assert depth.shape == (120, 160)
        np.testing.assert_allclose(depth, model.infer(photo), rtol=1e-5)
    assert len({np.load(f"out/{name}.npy").tobytes() for name in names.values()}) == 5


def test_with_an_output_no_other_folder_is_written(place):
    before = {path for path in place.rglob("*") if path.is_file()}
    predict("a.jpg", "-c", "run.yaml")
    after = {path.relative_to(place) for path in {*place.rglob("*")} - before if path.is_file()}
    assert after
    assert {path.parts[0] for path in after} == {"out"}
    assert not Path("runs").exists()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nothing can be created")
def test_the_working_folder_may_be_read_only(place, monkeypatch, capsys):
    monkeypatch.chdir("/proc")
    given = ["predict", str(place / "a.jpg"), "-c", str(place / "run.yaml"), *QUIET]
    assert main([*given, "--output", str(place / "out")]) == 0
    assert len([*(place / "out").glob("*a.png")]) == 1
    assert main(given) == 2
    assert "folder runs/depthclip of the runs cannot be created in /proc" in capsys.readouterr().err


def test_the_home_folder_of_the_output_is_expanded(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place / "home"))
    run(["predict", "a.jpg", "-c", "run.yaml", "--output", "~/out", *QUIET])
    assert Path("home/out/a.png").is_file()
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--data.view.mirror", "false"], {"mirror": False}),
        (["--data.view.max_side", "128"], {"mirror": False, "max_side": 128}),
        (["--model.mirror", "false", "--model.max_side", "64"], {}),
        (["--data.view.window", "[64, 64]"], {"mirror": False, "window": (64, 64)}),
    ],
)
def test_a_view_of_photographs_is_bounded_by_the_model(place, options, settings):
    model = predict("a.jpg", "-c", "run.yaml", "--formats", "[npy]", *options).model
    np.testing.assert_allclose(np.load("out/a.npy"), model.infer("a.jpg", **settings), rtol=1e-5)


def test_a_data_class_on_the_command_line_has_the_same_view(place):
    model = predict("-c", "run.yaml", "--data", "Photos", "--data.images", "[a.jpg]", "--formats", "[npy]").model
    np.testing.assert_allclose(np.load("out/a.npy"), model.infer("a.jpg"), rtol=1e-5)


# ---- names and resumption


def written():
    return {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir() if path.name != "index.json"}


def test_finished_files_are_not_repeated_unless_told(place, capsys):
    predict("in", "-c", "run.yaml")
    before = written()
    assert len(before) == 2 * 4
    Path("in/new.jpg").write_bytes(Path("a.jpg").read_bytes())
    predict("in", "-c", "run.yaml")
    assert "4 were there already" in capsys.readouterr().out
    after = written()
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * 5
    predict("in", "-c", "run.yaml", "--overwrite", "--model.max_side", "64")
    assert all(written()[name] != after[name] for name in after)


def test_a_photograph_of_the_same_name_in_another_folder_is_refused(place, monkeypatch):
    options = ["-c", str(place / "run.yaml"), "--output", str(place / "out"), *QUIET]
    run(["predict", "a.jpg", *options])
    before = written()
    monkeypatch.chdir("in")
    with pytest.raises(InputError, match=r"out/a.png holds the depth of .*/a.jpg, not of .*/in/a.jpg; .*--overwrite"):
        run(["predict", "a.jpg", *options])
    run(["predict", "../a.jpg", *options])  # the name up_a
    monkeypatch.chdir(place)
    assert {name: written()[name] for name in before} == before
    assert len(written()) == 4
    monkeypatch.chdir("in")
    run(["predict", "a.jpg", *options, "--overwrite"])
    assert Image.open("../out/a.png").info["source"] == str(place / "in/a.jpg")


def test_a_photograph_is_never_overwritten(place):
    for index, name in enumerate(("p.jpg", "p.png")):
        Image.fromarray(picture(index, 120, 160)).save(name)
    before = Path("p.png").read_bytes()
    with pytest.raises(InputError, match=r"p.png is there already and is no depth map"):
        run(["predict", "p.jpg", "-c", "run.yaml", "--output", ".", "--overwrite", *QUIET])
    assert Path("p.png").read_bytes() == before


def test_the_progress_bar_has_the_time_left_and_warnings_have_no_path(place):
    command = [sys.executable, "-m", "depthclip", "predict", "a.jpg", "-c", "rooms"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "120"})
    assert done.returncode == 0
    assert "\nwarning: tiny-rooms was trained on procedural rooms only" in f"\n{done.stderr}"
    assert ".py:" not in done.stderr
    assert re.search(r"Predicting .*1/1 0:00:\d\d • 0:00:\d\d", done.stdout + done.stderr)


# ---- panels and maps of uncertainty


CALIBRATED = {"class_path": "depthclip.evaluation.conformal.Conformal"}


@pytest.mark.parametrize("mirror", ["true", "false"])
def test_maps_of_uncertainty_equal_those_of_infer(place, mirror):
    model = predict("a.jpg", "in", "-c", "run.yaml", "--formats", "[uncertainty]", "--model.mirror", mirror).model
    for photo, name in (("a.jpg", "a"), ("in/b c.jpg", "in_b c")):
        expected = model.infer(photo, uncertainty=True)
        with np.load(f"out/{name}.uncertainty.npz") as file:
            names = {"spread", "entropy"} | ({"disagreement"} if mirror == "true" else set())
            assert set(file.files) == names
            for each in file.files:
                assert (file[each].shape, file[each].dtype) == ((120, 160), np.float32)
                np.testing.assert_allclose(file[each], getattr(expected, each), atol=1e-6)


def test_bounds_of_intervals_equal_those_of_infer(place):
    """The quantile is set by hand, as in a checkpoint of `fit`."""
    cli = predict("a.jpg", "-c", "run.yaml", "--model.intervals", json.dumps(CALIBRATED))
    model = cli.model
    model.intervals.units.fill_(50)
    model.intervals.quantile.fill_(0.1)
    writer = DepthWriter(output="bounds", formats=["uncertainty"])
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    Trainer(callbacks=[writer], **quiet).predict(model, Photos(["a.jpg"]), return_predictions=False)
    expected = model.infer("a.jpg", uncertainty=True)
    with np.load("bounds/a.uncertainty.npz") as file:
        assert {"low", "high"} <= set(file.files)
        np.testing.assert_allclose(file["low"], expected.low, atol=1e-6)
        np.testing.assert_allclose(file["high"], expected.high, atol=1e-6)


def test_a_model_without_uncertainty_is_refused(tmp_path):
    one = Prediction(0, "a", torch.ones(4, 5), torch.ones(3, 2, 3), torch.ones(2, 3))
    with pytest.raises(InputError, match=r"formats 'uncertainty': .* for a; use a head with words, set model.mirror"):
        DepthFolder(tmp_path, ["a"], {}, ["uncertainty"]).write(one)
    assert not list(tmp_path.glob("*.npz"))


def test_a_panel_is_kept_unless_a_file_of_it_is_missing(place, capsys):
    given = ["a.jpg", "in", "-c", "run.yaml", "--formats", "[png, panel]"]
    predict(*given)
    assert "5 written, 0 kept, 0 skipped" in capsys.readouterr().out
    before = written()
    assert len(before) == 3 * 5
    predict(*given)
    assert "0 written, 5 kept, 0 skipped" in capsys.readouterr().out
    Path("out/a.panel.png").unlink()
    Path("in/broken.jpg").write_text("hello")
    predict(*given)
    assert "1 written, 4 kept, 1 skipped" in capsys.readouterr().out
    assert {name for name, time in written().items() if time != before[name]} == {
        "a.png",
        "a.colour.png",
        "a.panel.png",
    }
    predict(*given, "--vector", "svg")  # which is missing everywhere
    assert "5 written, 0 kept, 1 skipped" in capsys.readouterr().out
    assert len(list(Path("out").glob("*.panel.svg"))) == 5


def test_the_panel_of_a_big_photograph_is_drawn_at_the_size_that_the_model_saw(place):
    Image.fromarray(picture(1, 600, 900)).resize((3000, 2000)).save("big.jpg")
    predict("big.jpg", "-c", "run.yaml", "--formats", "[panel]")
    assert Path("out/big.panel.png").stat().st_size < 10**6
    assert Image.open("out/big.panel.png").width < 1400
    assert Image.open("out/big.colour.png").height == 2000


def test_the_files_of_predict_that_are_no_depth_maps_are_not_scored(place):
    predict("a.jpg", "-c", "run.yaml", "--formats", "[npy, panel, uncertainty]")
    assert list_maps(Path("out"), None) == ["a.npy"]
    assert file_names(["a.jpg", "a.panel.jpg"]) == ["a.jpg", "a.panel.jpg"]


def test_the_help_names_the_formats(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for each in ("panel, picture of the image", "uncertainty, .npz of float32 maps", "--vector"):
        assert each in text


# ---- point clouds


@pytest.mark.parametrize("file_type", ["ply", "glb"])
def test_a_wall_of_a_cloud_is_planar(tmp_path, file_type):
    """The exact depth of a room, with the true focal length of a field of view of 70 degrees."""
    trimesh = pytest.importorskip("trimesh")
    drawn = draw_room(np.random.default_rng(5))
    focal = drawn.depth.shape[1] / 2 / math.tan(math.radians(35))
    rgb, depth = torch.from_numpy(drawn.rgb).permute(2, 0, 1) / 255, torch.from_numpy(drawn.depth)
    sizes = np.bincount(drawn.surface.ravel(), minlength=6)[:6]
    wall = max((0, 1, 4, 5), key=lambda k: sizes[k])
    assert min(sizes[wall], sizes[2]) > 300  # pixels of the wall and the floor

    def fit(points):
        """Return the normal of a plane through points, and their largest distance from it."""
        offsets = points - points.mean(0)
        normal = np.linalg.svd(offsets, full_matrices=False)[2][2]
        return normal, np.abs(offsets @ normal).max()

    def cosine(focal):
        folder = DepthFolder(tmp_path, ["a"], {}, [file_type])
        folder.write(Prediction(0, "a", depth, rgb, depth, focal))
        read = trimesh.load(tmp_path / f"a.{file_type}")
        cloud = read if file_type == "ply" else next(iter(read.geometry.values()))
        np.testing.assert_array_equal(np.asarray(cloud.colors)[:, :3], drawn.rgb.reshape(-1, 3))
        (a, off), (b, below) = (fit(cloud.vertices[drawn.surface.ravel() == k]) for k in (wall, 2))
        assert max(off, below) < 0.001  # metres
        return abs(a @ b)

    assert cosine(focal) < 1e-3  # the wall stands upright on the floor
    assert cosine(1.3 * focal) > 0.01  # through a wrong lens it does not
    points = points_of(np.full((2, 4), 2.0, np.float32), 4.0, (2, 1))
    np.testing.assert_allclose(points[0, 0], [-0.75, 0.25, -2])


def test_a_cloud_needs_a_focal_length(place, capsys):
    pytest.importorskip("trimesh")
    given = ["-c", "run.yaml", "--output", "out", "--formats", "[ply]", *QUIET]
    assert main(["predict", "a.jpg", *given]) == 2
    assert "the focal length is not known (EXIF FocalLengthIn35mmFilm; set data.fov): a.jpg" in capsys.readouterr().err
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 28
    Image.open("a.jpg").save("b.jpg", exif=exif)
    assert main(["predict", "b.jpg", *given]) == 0
    assert Path("out/b.ply").stat().st_size > 96 * 72 * 15


def test_the_commands_of_the_page(place):
    for name in ("photo.jpg", "trip/1.jpg", "other/1.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture(1, 48, 64)).save(name)
    ran = [line for line in commands(ROOT / "docs/predict.md") if "-m depthclip " in line]
    for line in ran:
        assert main([*shlex.split(line.partition("-m depthclip ")[2]), *QUIET]) == 0
    assert len(ran) == 4
    assert {"trip_1.panel.png", "trip_1.panel.pdf", "trip_1.uncertainty.npz"} <= {
        path.name for path in Path("pictures").iterdir()
    }
    names = {path.name for path in Path("depth").iterdir()}
    assert {"photo.png", "photo.npy", "trip_1.png", "other_1.npy"} <= names
    assert "trip_1.npy" not in names  # of the model before --overwrite
