"""The folder of `predict` over several runs: which files count as finished, and which are replaced or removed."""

import errno
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from depthclip.__main__ import main
from depthclip.cli import run
from depthclip.depth_files import DepthFolder
from depthclip.errors import InputError
from depthclip.shown import Prediction
from tests.layouts import picture
from tests.test_predict import MODEL, QUIET


@pytest.fixture
def place(tmp_path, monkeypatch, small):
    """Three photographs, of which the first states its focal length, and a recipe of a small model."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 28
    for k in range(3):
        Image.fromarray(picture(k, 48, 64)).save(f"in/r{k}.jpg", **({} if k else {"exif": exif}))
    Path("run.yaml").write_text(yaml.safe_dump({"model": MODEL}))
    return tmp_path


def predict(*given, output="out"):
    return run(["predict", "-c", "run.yaml", *given, "--output", output, *QUIET])


def one(index, name, metres=1.0, focal=None):
    """The prediction of an image that is the same everywhere."""
    depth = torch.full((4, 5), metres)
    return Prediction(index, name, depth, torch.ones(3, 4, 5), depth, focal)


def folder_of(path, settings, formats, sources=None, overwrite=False):
    return DepthFolder(path, ["a", "b"], {"model": settings}, formats, sources, overwrite)


def write_both(path, settings, formats, metres, overwrite=False):
    folder = folder_of(path, settings, formats, overwrite=overwrite)
    folder.open()
    for index, name in enumerate("ab"):
        folder.write(one(index, name, metres, focal=5.0))
    folder.write_index()


def test_another_field_of_view_is_refused(place):
    """It shapes the points of clouds, and the depth of a head with a camera."""
    predict("in/r1.jpg", "--data.fov", "40")
    predict("in/r1.jpg", "--data.fov", "40")
    for other in (["--data.fov", "100"], []):
        with pytest.raises(InputError, match="holds depth maps of another model or view"):
            predict("in/r1.jpg", *other)


def test_an_interrupted_overwrite_is_completed(tmp_path):
    write_both(tmp_path, "A", ["npy"], 1.0)
    folder = folder_of(tmp_path, "B", ["npy"], overwrite=True)
    assert folder.open() == [0, 1]
    folder.write_index()
    folder.write(one(0, "a", 2.0))  # and is killed
    again = folder_of(tmp_path, "B", ["npy"])
    assert again.open() == [1]
    again.choose([1])
    again.write(one(0, "b", 2.0))
    assert [np.load(tmp_path / f"{name}.npy")[0, 0] for name in "ab"] == [2, 2]
    assert folder_of(tmp_path, "B", ["npy"]).open() == []
    with pytest.raises(InputError, match="another model"):
        folder_of(tmp_path, "A", ["npy"]).open()


def test_overwriting_removes_the_files_of_other_formats(tmp_path):
    write_both(tmp_path, "A", ["png", "npy"], 1.0)
    write_both(tmp_path, "B", ["png"], 2.0, overwrite=True)
    assert not list(tmp_path.glob("*.npy"))
    assert folder_of(tmp_path, "B", ["png", "npy"]).open() == [0, 1]
    assert json.loads((tmp_path / "index.json").read_text())["maps"].keys() == {"a.png", "b.png"}


def test_a_further_format_keeps_the_others(tmp_path):
    write_both(tmp_path, "A", ["npy"], 1.0)
    write_both(tmp_path, "A", ["png"], 1.0)
    assert folder_of(tmp_path, "A", ["png", "npy"]).open() == []
    assert json.loads((tmp_path / "index.json").read_text())["maps"].keys() == {"a.npy", "a.png", "b.npy", "b.png"}


def test_the_index_keeps_the_maps_of_earlier_runs(place):
    predict("in/r0.jpg")
    predict("in/r1.jpg")
    predict("in/r2.jpg", "--formats", "[npy]")
    maps = json.loads(Path("out/index.json").read_text())["maps"]
    assert {file: entry["image"] for file, entry in maps.items()} == {
        "in_r0.png": "in/r0.jpg",
        "in_r1.png": "in/r1.jpg",
        "in_r2.npy": "in/r2.jpg",
    }
    Path("out/in_r0.png").unlink()
    predict("in/r1.jpg")
    assert json.loads(Path("out/index.json").read_text())["maps"].keys() == {"in_r1.png", "in_r2.npy"}


@pytest.mark.parametrize("name", ["a.npy", "a.ply", "a.panel.png"])
def test_a_file_that_predict_did_not_write_is_never_replaced(tmp_path, name):
    write_both(tmp_path, "A", ["png"], 1.0)
    np.save(tmp_path / "a.npy", np.ones((4, 5), np.float32))
    (tmp_path / "a.npy").rename(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    kind = {"a.npy": "npy", "a.ply": "ply", "a.panel.png": "panel"}[name]
    for overwrite, settings in ((False, "A"), (True, "A"), (True, "B")):
        with pytest.raises(InputError, match=f"{name} is there already and is no depth map"):
            folder_of(tmp_path, settings, ["png", kind], overwrite=overwrite).open()
    write_both(tmp_path, "B", ["png"], 2.0, overwrite=True)
    assert (tmp_path / name).read_bytes() == before


def test_another_photograph_under_the_same_path_is_refused(place):
    predict("in")
    Image.fromarray(picture(9, 48, 64)).save("in/r1.jpg")
    with pytest.raises(InputError, match=r"holds the depth of an earlier version of .*in/r1.jpg; .*--overwrite"):
        predict("in")
    predict("in", "--overwrite")
    predict("in")
    os.utime("in/r1.jpg", ns=(1, 1))  # a copy of the same content
    predict("in")


def test_a_folder_of_an_earlier_version_is_kept(tmp_path):
    """Its pictures state no settings and no list of files."""
    write_both(tmp_path, "A", ["png", "npy"], 1.0)
    for path in tmp_path.glob("*.png"):
        text = PngInfo()
        with Image.open(path) as image:
            for key in ("image", "depth_scale"):
                text.add_text(key, image.info[key])
            image.load()
        image.save(path, pnginfo=text)
    assert folder_of(tmp_path, "A", ["png", "npy"]).open() == []
    (tmp_path / "notes.ply").write_text("mine")
    write_both(tmp_path, "B", ["png"], 2.0, overwrite=True)
    assert not list(tmp_path.glob("*.npy"))
    assert (tmp_path / "notes.ply").exists()


def test_a_photograph_without_a_focal_length_has_no_cloud(place, capsys):
    pytest.importorskip("trimesh")
    given = ["predict", "in", "-c", "run.yaml", "--output", "out", "--formats", "[npy, glb]", *QUIET]
    assert main(given) == 3
    printed = capsys.readouterr().out
    message = "2 images have no point clouds, since the focal length is not known"
    assert message in printed
    assert "in/r1.jpg, in/r2.jpg" in printed
    assert "3 written, 0 kept, 0 skipped" in printed
    assert {path.name for path in Path("out").glob("*.[ng][pl][yb]")} == {
        "in_r0.npy",
        "in_r0.glb",
        "in_r1.npy",
        "in_r2.npy",
    }
    assert main(given) == 3
    printed = capsys.readouterr().out
    assert message in printed
    assert "0 written, 3 kept, 0 skipped" in printed
    Image.fromarray(picture(4, 48, 64)).save("in/r4.jpg")
    assert main(given) == 3
    assert "1 written, 3 kept, 0 skipped" in capsys.readouterr().out
    assert main([*given, "--overwrite", "--data.fov", "60"]) == 0
    assert len(list(Path("out").glob("*.glb"))) == 4
    assert main([*given, "--formats", "[glb]", "--output", "none"]) == 3


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(file, values):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    folder = folder_of(tmp_path, "A", ["npy", "panel"])
    with pytest.raises(InputError, match=r"a\.npy cannot be written \(No space left on device\)"):
        folder.write(one(0, "a"))


def test_files_of_a_killed_run_are_removed_after_ten_minutes(tmp_path):
    now = time.time()
    ages = {"a.npy.7": 700, "index.json.7": 700, "film.mp4.7": 700, "a.npy.8": 100}
    for name, age in ages.items():
        (tmp_path / f"{name}.partial").touch()
        os.utime(tmp_path / f"{name}.partial", (now - age, now - age))
    folder_of(tmp_path, "A", ["npy"]).open()
    assert {path.name for path in tmp_path.iterdir()} == {"film.mp4.7.partial", "a.npy.8.partial"}
