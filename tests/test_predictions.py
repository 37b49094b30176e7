"""Depth maps of other methods: formats, names, the part that they show, and the checks before the work."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from depthclip.data import DataError, Pairs
from depthclip.predictions import Predicted
from depthclip.predictions.coverage import part_of
from depthclip.predictions.files import read_prediction
from depthclip.predictions.matching import match
from depthclip.protocol import Scoring, View
from tests.layouts import picture, write_image


def metric(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Return depth of 1 to 9 metres, (H, W) float32, in whole centimetres."""
    return (np.random.default_rng(seed).integers(100, 900, (height, width)) / 100).astype(np.float32)


def as_png(path, values, scale=None):
    text = PngInfo()
    if scale is not None:
        text.add_text("depth_scale", str(scale))
    Image.fromarray(values.astype(np.uint16)).save(path, pnginfo=text)


def write(path, depth, scale):
    """Write depth in metres with the library that belongs to the suffix, times `scale`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = depth * scale
    if path.suffix == ".png":
        as_png(path, np.round(stored))
    elif path.suffix == ".npy":
        np.save(path, stored)
    elif path.suffix == ".npz":
        np.savez_compressed(path, stored)
    else:
        Image.fromarray(stored.astype(np.float32), mode="F").save(path)


@pytest.fixture
def pairs(tmp_path):
    """Return a data set of four images in two folders; the part in the view is 16 x 24."""
    for k in range(4):
        write_image(tmp_path / f"{'ab'[k % 2]}/{k}.jpg", picture(k))
        write_image(tmp_path / f"{'ab'[k % 2]}/{k}.png", np.round(metric(k) * 1000).astype(np.uint16))
    return data(tmp_path)


def data(root, **changes):
    made = Pairs(str(root), "*/*.jpg", "*/*.png", **{"view": View(crop=(4, 4, 20, 28)), **changes})
    made.setup("test")
    return made


def prepared(data, folder, **options):
    row = Predicted("them", str(folder), **options)
    row.prepare(data)
    return row


def items(data):
    return [item for batch in data.test_dataloader() for item in batch.items]


@pytest.mark.parametrize("suffix", [".png", ".npy", ".npz", ".tiff", ".tif"])
@pytest.mark.parametrize("scale", [1000.0, 256.0, None])
def test_formats_with_a_stated_scale(tmp_path, suffix, scale):
    depth, path = metric(0), tmp_path / f"map{suffix}"
    write(path, depth, 1000.0 if scale is None and suffix == ".png" else scale or 1.0)
    if suffix == ".png" and scale is None:
        with pytest.raises(DataError, match=r"map.png has uint16 values without a stated scale; set scale"):
            read_prediction(path)
        return
    found = read_prediction(path, scale)
    assert (found.depth.dtype, found.stated) == (torch.float32, False)
    np.testing.assert_allclose(found.depth, depth, atol=0.5 / (scale or 1) if suffix == ".png" else 1e-5)


def test_a_png_may_state_its_scale(tmp_path):
    as_png(tmp_path / "a.png", np.full((2, 3), 40000), 500)
    assert read_prediction(tmp_path / "a.png").depth.tolist() == [[80.0] * 3] * 2
    assert read_prediction(tmp_path / "a.png", 500).stated
    with pytest.raises(DataError, match="states 500 values per metre, not scale 256"):
        read_prediction(tmp_path / "a.png", 256)


@pytest.mark.parametrize("shape", [(1, 4, 5), (4, 5, 1), (1, 1, 4, 5)])
def test_axes_of_length_1_are_removed(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.ones(shape, np.float16))
    assert tuple(read_prediction(tmp_path / "a.npy").depth.shape) == (4, 5)


def test_an_npz_with_several_arrays_needs_depth(tmp_path):
    np.savez(tmp_path / "a.npz", depth=np.full((2, 2), 3.0), mask=np.ones((2, 2)))
    assert float(read_prediction(tmp_path / "a.npz").depth[0, 0]) == 3
    np.savez(tmp_path / "b.npz", pred=np.ones((2, 2)), mask=np.ones((2, 2)))
    with pytest.raises(DataError, match="holds the arrays pred, mask; it must hold a single array, or one named depth"):
        read_prediction(tmp_path / "b.npz")


NAMES = ["a/0.jpg", "b/1.jpg"]


@pytest.mark.parametrize(
    "files",
    [
        ["a/0.npy", "b/1.png"],
        ["a/0.jpg.npy", "b/1.jpg.npy"],
        ["a_0.npy", "b_1.tiff"],
        ["0.npy", "1.npz"],
        ["out/0.npy", "out/deep/1.npy"],
    ],
)
def test_names(tmp_path, files):
    for file in files:
        write(tmp_path / file, metric(0), 1.0)
    (tmp_path / "notes.txt").write_text("no depth map")
    found = match(tmp_path, NAMES)
    assert [path.relative_to(tmp_path).as_posix() for path in found.paths] == files
    assert found.extra == []


def test_the_index_of_predict_decides(tmp_path):
    for file in ("x.png", "x.npy", "y.png", "y.npy", "x.colour.png", "z.npy"):
        write(tmp_path / file, metric(0), 1000.0)
    scales = {".png": 1000, ".npy": 1}
    maps = {
        f"{stem}{suffix}": {"image": name, "depth_scale": scale}
        for stem, name in (("y", NAMES[0]), ("x", NAMES[1]))
        for suffix, scale in scales.items()
    }
    (tmp_path / "index.json").write_text(json.dumps({"settings": {}, "maps": maps}))
    found = match(tmp_path, NAMES)
    assert [path.name for path in found.paths] == ["y.npy", "x.npy"]
    assert (found.scales, found.extra) == ([1.0, 1.0], ["z.npy"])
    found = match(tmp_path, NAMES, ".png")
    assert ([path.name for path in found.paths], found.scales) == (["y.png", "x.png"], [1000.0, 1000.0])


def test_base_names_that_two_images_share_do_not_count(tmp_path):
    write(tmp_path / "0.npy", metric(0), 1.0)
    with pytest.raises(DataError, match=r"2 of 2 images have no depth map in .*, such as a/0.jpg, b/0.jpg; check"):
        match(tmp_path, ["a/0.jpg", "b/0.jpg"])


def test_two_files_for_an_image_are_refused(tmp_path):
    for file in ("a/0.npy", "a/0.png", "b/1.npy"):
        write(tmp_path / file, metric(0), 1.0)
    with pytest.raises(DataError, match=r"a/0.jpg has 2 depth maps in .*: a/0.npy, a/0.png; set suffix"):
        match(tmp_path, NAMES)
    assert [path.name for path in match(tmp_path, NAMES, ".npy").paths] == ["0.npy", "1.npy"]


@pytest.mark.parametrize(
    ("size", "part"),
    [
        ((480, 640), "image"),
        ((60, 80), "image"),  # of the ground truth
        ((240, 320), "view"),  # of the crop
        ((30, 40), "view"),  # of the crop in the ground truth
        ((192, 256), "view"),  # to which the view resizes the crop
    ],
)
def test_the_size_decides_which_part_a_map_shows(tmp_path, size, part):
    view = View(crop=(0, 0, 240, 320), size=(192, 256))
    assert part_of(size, (480, 640), (60, 80), view, tmp_path, None) == part


def test_other_sizes_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"is 384 x 384, but its ground truth is 480 x 640; .*set covers to image or"):
        part_of((384, 384), (480, 640), (480, 640), View(), tmp_path / "a.npy", None)
    with pytest.raises(DataError, match=r"640 x 480, .*480 x 640, and its crop by the view is 240 x 320; write"):
        part_of((640, 480), (480, 640), (480, 640), View(crop=(0, 0, 240, 320)), tmp_path / "a.npy", None)


def test_the_part_of_a_whole_map_is_cut_and_that_of_a_cropped_map_is_not(pairs, tmp_path):
    for k in range(4):
        write(tmp_path / f"whole/{k}.npy", metric(10 + k), 1.0)
        write(tmp_path / f"part/{k}.npy", metric(10 + k)[4:20, 4:28], 1.0)
        write(tmp_path / f"small/{k}.npy", metric(10 + k)[::2, ::2], 1.0)
    order = [int(item.name[2]) for item in items(pairs)]
    assert order == [0, 2, 1, 3]
    for folder in ("whole", "part"):
        row = prepared(pairs, tmp_path / folder)
        for k, item in zip(order, items(pairs), strict=True):
            np.testing.assert_array_equal(row.predict(item), metric(10 + k)[4:20, 4:28])
    with pytest.raises(DataError, match=r"small/0.npy is 12 x 16, but .*24 x 32"):
        prepared(pairs, tmp_path / "small")
    near = data(tmp_path, scoring=Scoring(resample="nearest"))
    row = prepared(near, tmp_path / "small", covers="image")
    for k, item in zip(order, items(near), strict=True):
        repeated = metric(10 + k)[::2, ::2].repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(row.predict(item), repeated[4:20, 4:28])


@pytest.mark.parametrize(("factor", "likely"), [(1000.0, "1000"), (10.0, "10"), (0.1, "0.1")])
def test_a_wrong_unit_is_found(pairs, tmp_path, factor, likely):
    for k in range(4):
        write(tmp_path / f"out/{k}.npy", metric(k), factor)
    with pytest.raises(
        DataError, match=rf"times the ground truth with scale 1 \(medians .*such as {likely}, or set any_unit"
    ):
        prepared(pairs, tmp_path / "out")
    prepared(pairs, tmp_path / "out", scale=factor)
    prepared(pairs, tmp_path / "out", any_unit=True)
    prepared(data(tmp_path, scoring=Scoring(alignment="median")), tmp_path / "out")


@pytest.mark.filterwarnings("ignore:4 depth maps in .* are 0 at some pixels")
def test_maps_that_are_mostly_0_are_no_question_of_the_unit(pairs, tmp_path):
    for k in range(4):
        depth = metric(k)
        depth[:, :20] = 0
        write(tmp_path / f"out/{k}.npy", depth, 1.0)
    with pytest.raises(DataError, match=r"half of the scored depths .*out are 0 \(medians .*set any_unit .* 0.001 m$"):
        prepared(pairs, tmp_path / "out")
    prepared(pairs, tmp_path / "out", any_unit=True)


def test_extra_files_and_zeros_are_mentioned(pairs, tmp_path):
    for k in range(6):
        depth = metric(k)
        depth[0, 0] = 0
        write(tmp_path / f"out/{k}.npy", depth, 1.0)
    with pytest.warns(UserWarning, match="depth maps in") as caught:
        prepared(pairs, tmp_path / "out")
    messages = [str(one.message) for one in caught]
    assert any("2 depth maps" in text and "belong to no test image, such as 4.npy, 5.npy" in text for text in messages)
    assert any("4 depth maps" in text and "which count as 0.001 m" in text for text in messages)


def test_a_wrong_map_is_found_before_the_work_wherever_it_is(tmp_path):
    for k in range(12):
        write_image(tmp_path / f"a/{k:02d}.jpg", picture(k))
        write_image(tmp_path / f"a/{k:02d}.png", np.round(metric(k) * 1000).astype(np.uint16))
        write(tmp_path / f"out/{k:02d}.npy", metric(k), 1.0)
    many = data(tmp_path)
    prepared(many, tmp_path / "out")
    np.save(tmp_path / "out/11.npy", np.full((24, 32), np.nan))
    with pytest.raises(DataError, match=r"11.npy has 768 values that are negative or not finite, such as nan"):
        prepared(many, tmp_path / "out")
    np.save(tmp_path / "out/11.npy", metric(0).T)
    with pytest.raises(DataError, match=r"11.npy is 32 x 24, but"):
        prepared(many, tmp_path / "out")
