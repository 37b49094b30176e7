"""Reports: names that could break them, figures of nothing, files that cannot be written, and depth maps as PNG."""

import json
import os
import sys

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image
from pytorch_lightning import Trainer

from depthclip import Bins, DepthCLIP, DepthHead, Prompts
from depthclip.data import Loading, Photos, Rooms
from depthclip.depth_files import DepthFolder, to_png_values
from depthclip.depth_writer import DepthWriter
from depthclip.errors import InputError
from depthclip.file_names import file_names
from depthclip.pictures import colour_depth, depth_range
from depthclip.protocol import Scoring
from depthclip.report import Report
from depthclip.shown import Prediction

HOSTILE = ["[/b]", r"$\foo$", "[red]x", "a/b", "日本", ":smile:", "x" * 150]


def head(values=(1, 2, 3, 4, 6), **settings):
    return DepthHead(Prompts("five"), Bins(list(values)), **settings)


def trainer(folder, *callbacks):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), enable_checkpointing=False, **quiet)


def rooms(**settings):
    return Rooms(train_size=2, val_size=2, test_size=3, loading=Loading(batch_size=2), view="whole", **settings)


def run_test(folder, model, data=None):
    trainer(folder, Report()).test(model, data or rooms(), verbose=False)


class Broken(DepthHead):
    """A head whose depth is not finite in a corner of the image."""

    value = float("inf")

    def forward(self, features, text):
        coarse = super().forward(features, text)
        depth = coarse.depth.clone()
        depth[..., 0, 0] = self.value
        return coarse._replace(depth=depth)


# ---- test and validate


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_are_printed_drawn_and_stored_as_they_are(clip, tmp_path, capsys):
    variants = {name: head(temperature=0.1 + k) for k, name in enumerate(HOSTILE)}
    published = {name: {"abs_rel": 0.3} for name in ("head", *HOSTILE)}
    run_test(tmp_path, DepthCLIP(clip("small-vit", "tokens"), head(), variants, published=published, panels=2))
    printed = capsys.readouterr().out
    for name in HOSTILE:
        assert any(line.strip().startswith(f"{name} ") for line in printed.splitlines()), name
        assert f"{name} (published)" in printed
    with np.load(tmp_path / "errors.npz") as file:
        names = ["alignment", "error", "errors", "higher", "image", "pixels", "rows", "scene"]
        assert sorted(file.files) == names
        assert file["rows"].tolist() == ["head", *HOSTILE, "random"]
        assert file["errors"].shape == (9, 3, 9)
        assert file["image"].tolist() == ["test/00000", "test/00001", "test/00002"]
        errors = file["errors"]
    figures = json.loads((tmp_path / "metrics.json").read_text())["figures"]
    for row, name in zip(errors, ["head", *HOSTILE], strict=False):
        assert row[:, 0].mean() == pytest.approx(figures[name]["abs_rel"])
    assert {path.name for path in tmp_path.glob("*.png")} == {"panel.png", "variants.png"}
    assert len(list((tmp_path / "variants").iterdir())) == 8


def test_words_with_tex_are_drawn(clip, tmp_path):
    prompts = Prompts(words=[r"$\foo$", "[/b]", "a" * 100, "near", "far"])
    model = DepthCLIP(clip("small-vit", "tokens"), DepthHead(prompts, Bins([1, 2, 3, 4, 6])), panels=1)
    run_test(tmp_path, model)
    assert Image.open(tmp_path / "panel.png").size[0] > 800


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_a_depth_that_is_not_finite_is_an_error_and_no_figure(clip, tmp_path, value):
    broken = Broken(Prompts("five"), Bins([1, 2, 3, 4, 6]))
    broken.value = value
    # the corner is not scored
    data = rooms(scoring=Scoring(crop=(60, 60, 100, 100)))
    model = DepthCLIP(clip("small-vit", "tokens"), head(), {"mine": broken})
    with pytest.raises(InputError, match="'mine' of test/00000 is not finite"):
        run_test(tmp_path, model, data)
    assert not (tmp_path / "metrics.json").exists()
    with pytest.raises(InputError, match="'mine' of val/00000"):
        trainer(tmp_path, Report()).validate(model, data, verbose=False)


@pytest.mark.parametrize("function", ["test", "validate"])
def test_no_pixel_that_counts_is_an_error_and_no_table(clip, tmp_path, capsys, function):
    model = DepthCLIP(clip("small-vit", "tokens"), head())
    data = rooms(scoring=Scoring(min_depth=5000, max_depth=6000))
    with pytest.raises(InputError, match=r"no pixel of the \d images counts.*5000 to 6000 m.*check the scale"):
        getattr(trainer(tmp_path, Report()), function)(model, data, verbose=False)
    assert not (tmp_path / "metrics.json").exists()
    assert "abs_rel" not in capsys.readouterr().out


def test_the_table_comes_before_files_that_cannot_be_written(clip, tmp_path, capsys):
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        run_test(tmp_path, DepthCLIP(clip("small-vit", "tokens"), head(), panels=0))
    assert "abs_rel" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.partial"))


def test_a_reader_that_has_gone_does_not_cost_the_files(clip, tmp_path, monkeypatch):
    class Gone:
        encoding = "utf-8"

        def isatty(self):
            return False

        def write(self, text):
            if text:
                raise BrokenPipeError

        def flush(self):
            pass

    model = DepthCLIP(clip("small-vit", "tokens"), head(), panels=1)
    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(BrokenPipeError):
        run_test(tmp_path, model)
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "errors.npz", "panel.png"}


def test_suspicious_figures_are_warned_of(clip, tmp_path):
    encoder = clip("small-vit", "tokens")
    with pytest.warns(UserWarning, match=r"saturated.*temperature.*logit_scale"):
        run_test(tmp_path, DepthCLIP(encoder, head(temperature=1e-6), panels=1))
    with pytest.warns(UserWarning, match=r"'wide' \(to 60 m\) reach beyond scoring.max_depth 10 m"):
        run_test(tmp_path, DepthCLIP(encoder, head(), {"wide": head([1, 2, 3, 4, 60])}, panels=1))


@pytest.mark.filterwarnings("error:the ")
def test_usual_figures_are_not_warned_of(clip, tmp_path):
    encoder = clip("small-vit", "tokens")
    far = head([1, 2, 3, 4, 10], temperature=10, assignment="hard")
    run_test(tmp_path, DepthCLIP(encoder, head(temperature=10), {"far": far}, panels=2))


# ---- predict


def test_file_names_are_plain_where_they_can_be_and_never_collide():
    assert file_names(["rgb_0.jpg", "a/b.png", "/home/me/x.jpg", "../x.jpg", ".h.jpg", "a.b/c"]) == [
        "rgb_0",
        "a_b",
        "home_me_x",
        "up_x",
        "_h",
        "a.b_c",
    ]
    assert file_names(["p.jpg", "p.png", "q.jpg"]) == ["p.jpg", "p.png", "q"]
    hostile = [
        "p.jpg",
        "p.png",
        "p.jpg.webp",
        "P.jpg",
        "a/b.png",
        "a_b.png",
        "a//b.png",
        "p.colour.jpg",
        "p.colour.png",
    ]
    hostile += ["../x.jpg", "x.jpg", "up_x.jpg", "/x.jpg", "..", ".", "", "/", "\udcff.jpg", "same", "same"]
    hostile += [f"{'é' * 200}{k}.jpg" for k in range(2)] + [f"{'n' * 300}/{k}.png" for k in range(2)]
    names = file_names(hostile)
    assert len({f"{name}{s}.png".casefold() for name in names for s in ("", ".colour")}) == 2 * len(hostile)
    for name in names:
        assert len(name.encode("utf-8", "surrogateescape")) + len(".colour.png.4194304.partial") <= 255
        assert "/" not in name
        assert not name.startswith(".")
    assert file_names(hostile) == names


@pytest.mark.parametrize(
    ("farthest", "scale"), [(10, 1000), (65.53, 1000), (65.6, 500), (80, 500), (131.1, 256), (655, 100), (1e6, None)]
)
def test_the_scale_covers_the_largest_depth(farthest, scale):
    depth = np.linspace(1e-5, farthest, 5000, dtype=np.float32).reshape(50, 100)
    depth[0, :10] = 0
    values, found = to_png_values(depth)
    assert values.dtype == np.uint16
    assert scale is None or found == scale
    assert ((values == 0) == (depth == 0)).all()
    np.testing.assert_allclose(values[1:] / found, depth[1:], atol=0.5001 / found)
    assert values.max() == pytest.approx(farthest * found, abs=1)


def test_colours_are_matplotlibs():
    depth = np.random.default_rng(0).uniform(0.5, 12, (70, 90)).astype(np.float32)
    depth[:5] = 0
    share = np.clip((depth - 1.0) / 9.0, 0, 1)
    expected = (colormaps["magma_r"](share)[..., :3] * 255).round().astype(np.uint8)
    expected[:5] = 128
    np.testing.assert_array_equal(colour_depth(depth, 1.0, 10.0), expected)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Three photographs in `in`, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "b.jpg"):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(tmp_path / "in" / name)
    return tmp_path


def predict(model, folder, paths=("in",), recipe=None, **settings):
    run = trainer(folder, DepthWriter(recipe, folder / "out"))
    return run.predict(model, Photos(list(paths), **settings), return_predictions=False)


def test_predict_keeps_eighty_metres_and_states_the_scale(clip, photos, capsys):
    model = DepthCLIP(clip("small-resnet", "attention_pool"), head([70, 72, 75, 78, 80]))
    predict(model, photos)
    index = json.loads((photos / "out/index.json").read_text())["maps"]
    assert {entry["image"] for entry in index.values()} == {"in/a.png", "in/b.png", "in/b.jpg"}
    for file, entry in index.items():
        png = Image.open(photos / "out" / file)
        assert float(png.info["depth_scale"]) == entry["depth_scale"] == 500
        assert png.info["image"] == entry["image"]
        expected = model.infer(photos / entry["image"])
        np.testing.assert_allclose(np.asarray(png) / 500, expected, atol=1.1e-3)
        picture = Image.open((photos / "out" / file).with_suffix(".colour.png"))
        assert picture.width > 64 + 30  # the map and its scale bar
        colours = colour_depth(expected, *depth_range(torch.from_numpy(expected)))
        shown = np.asarray(picture)[:48, :64].astype(int)
        assert (np.abs(shown - colours).max(-1) > 8).mean() < 0.02
    assert "values per metre: 500" in capsys.readouterr().out


def harm_unnoticed(path):
    """Fill a file with zeros, but keep its size and the time of its last change."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_predict_goes_on_where_it_was_killed(clip, photos, capsys):
    model = DepthCLIP(clip("small-resnet", "attention_pool"), head())
    predict(model, photos)
    written = {path.name: path.stat().st_mtime_ns for path in (photos / "out").glob("in_*")}
    assert len(written) == 6
    (photos / "out/in_b.png.png").unlink()
    for name in ("a.png", "b.jpg"):
        harm_unnoticed(photos / "in" / name)  # neither is decoded
    capsys.readouterr()
    predict(model, photos)
    assert "3 depth maps" in (printed := capsys.readouterr().out)
    assert "2 were there already" in printed
    kept = {path.name for path in (photos / "out").glob("in_*") if path.stat().st_mtime_ns == written[path.name]}
    assert kept == written.keys() - {"in_b.png.png", "in_b.png.colour.png"}
    harm_unnoticed(photos / "in/b.png")
    run = trainer(photos, DepthWriter(None, photos / "out"))
    run.predict(model, Photos(["in"]), return_predictions=False)
    assert "all 3 depth maps are in" in capsys.readouterr().out
    assert run.limit_predict_batches == 1.0


def test_unreadable_photographs_are_counted(clip, photos, capsys):
    (photos / "in/a.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="a.png"):
        predict(DepthCLIP(clip("small-resnet", "attention_pool"), head()), photos, loading=Loading(on_error="skip"))
    assert "1 image could not be read" in capsys.readouterr().out
    assert len(json.loads((photos / "out/index.json").read_text())["maps"]) == 2


@pytest.mark.filterwarnings("ignore:skipped")
def test_no_readable_photograph_is_an_error(clip, photos):
    for path in (photos / "in").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match="none of the 3 images could be read"):
        predict(DepthCLIP(clip("small-resnet", "attention_pool"), head()), photos, loading=Loading(on_error="skip"))


def test_predict_overwrites_no_photograph_and_no_maps_of_another_model(clip, photos, monkeypatch):
    model = DepthCLIP(clip("small-resnet", "attention_pool"), head())
    (photos / "out").mkdir()
    before = (photos / "in/a.png").read_bytes()
    (photos / "out/a.png").write_bytes(before)
    monkeypatch.chdir(photos / "out")
    with pytest.raises(InputError, match=r"out/a.png is there already and is no depth map.*--output"):
        predict(model, photos, ["a.png"])
    monkeypatch.chdir(photos)
    assert (photos / "out/a.png").read_bytes() == before
    predict(model, photos, recipe={"model": {"temperature": 1}})
    with pytest.raises(InputError, match=r"another model or view.*--output"):
        predict(model, photos, recipe={"model": {"temperature": 2}})


def test_predict_refuses_a_depth_that_is_not_finite(clip, photos):
    broken = Broken(Prompts("five"), Bins([1, 2, 3, 4, 6]))
    with pytest.raises(InputError, match=r"the depth of in/a.png is not finite"):
        predict(DepthCLIP(clip("small-resnet", "attention_pool"), broken), photos)


def test_a_map_whose_picture_is_missing_is_not_done(tmp_path):
    folder = DepthFolder(tmp_path, ["a", "b"], {})
    assert folder.open() == [0, 1]
    folder.write(Prediction(0, "a", torch.ones(4, 5), torch.ones(3, 2, 3), torch.ones(2, 3)))
    assert folder.open() == [1]
    (tmp_path / "a.colour.png").unlink()
    assert folder.open() == [0, 1]
    assert folder.closing(0).count("there already") == 0
