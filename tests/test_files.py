"""Image and depth files are read exactly, and what is wrong with one is said with its name."""

import numpy as np
import pytest
import torch
from PIL import Image

from depthclip.data.base import DataError
from depthclip.data.files import read_depth, read_rgb
from depthclip.data.layouts import check_complete, hold_out, read_list, recognise
from tests.layouts import picture, values, write_image, write_pair, write_pgm


def test_rgb_is_read_exactly(tmp_path):
    pixels = picture(0)
    read = read_rgb(write_image(tmp_path / "a.png", pixels))
    assert read.shape == (3, 24, 32)
    assert read.dtype == torch.uint8
    assert np.array_equal(read.permute(1, 2, 0), pixels)


def test_grey_and_palette_images_become_rgb(tmp_path):
    grey = write_image(tmp_path / "grey.png", picture(0)[..., 0])
    assert np.array_equal(read_rgb(grey), np.stack([picture(0)[..., 0]] * 3))


def test_16_bit_png_and_pgm_give_the_same_metres(tmp_path):
    depth = values(1)
    depth[0, 0] = 65535  # beyond what a signed 16-bit integer holds
    png, pgm = write_image(tmp_path / "a.png", depth), write_pgm(tmp_path / "a.pgm", depth)
    with Image.open(png) as one, Image.open(pgm) as other:
        assert one.mode.startswith("I;16")
        assert other.mode == "I"
    for path in (png, pgm):
        read = read_depth(path, 1000)
        assert read.dtype == torch.float32
        assert np.array_equal(read, depth.astype(np.float32) / np.float32(1000))


def test_scale_and_invalid_values(tmp_path):
    depth = np.array([[0, 256, 65535, 2047]], np.uint16)
    read = read_depth(write_image(tmp_path / "a.png", depth), 256, invalid=(65535, 2047))
    assert read.tolist() == [[0, 1, 0, 0]]


def test_floating_point_depth_loses_what_is_not_finite(tmp_path):
    depth = np.array([[1.5, np.nan, np.inf, -np.inf, -1.0]], np.float32)
    np.save(tmp_path / "a.npy", depth[..., None])
    write_image(tmp_path / "a.tiff", depth)
    for name in ("a.npy", "a.tiff"):
        assert read_depth(tmp_path / name, 1).tolist() == [[1.5, 0, 0, 0, 0]]


def test_rotated_bits_of_sun_rgbd(tmp_path):
    millimetres = np.array([[0, 1, 2720, 9870, 8191]], np.uint16)
    rotated = [((int(value) << 3) | (int(value) >> 13)) & 0xFFFF for value in millimetres[0]]
    path = write_image(tmp_path / "a.png", np.array([rotated], np.uint16))
    assert np.array_equal(read_depth(path, 1000, decode="rotated"), millimetres.astype(np.float32) / np.float32(1000))


def test_byte_swapped_disparity_of_the_raw_kinect(tmp_path):
    path = write_pgm(tmp_path / "d.pgm", np.array([[840, 1040, 2047, 1093]], np.uint16), swapped=True)
    near, far, hole, beyond = read_depth(path, 1000, decode="kinect")[0].tolist()
    assert near == pytest.approx(351.3 / 252.5, rel=1e-6)
    assert far == pytest.approx(351.3 / 52.5, rel=1e-6)
    assert hole == beyond == 0


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_8_bit_depth_is_refused(tmp_path, mode):
    path = tmp_path / "depth.png"
    Image.fromarray(picture(0)).convert(mode).save(path)
    with pytest.raises(DataError, match=r"depth\.png.*16 bits"):
        read_depth(path, 1000)


@pytest.mark.parametrize("harm", ["empty", "truncated", "other", "missing"])
@pytest.mark.parametrize("name", ["depth.png", "depth.pgm", "depth.npy"])
def test_a_broken_file_is_named(tmp_path, name, harm):
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, values(0).astype(np.float32))
    elif name.endswith(".pgm"):
        write_pgm(path, values(0))
    else:
        write_image(path, values(0))
    data = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "truncated": data[: len(data) // 2], "other": b"no image" * 9, "missing": data}[harm]
    )
    if harm == "missing":
        path.unlink()
    with pytest.raises(DataError, match=name):
        read_depth(path, 1000)
    if not name.endswith(".npy"):
        with pytest.raises(DataError, match=name):
            read_rgb(path)


def test_pickled_depth_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"any": "thing"}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy.*pickle"):
        read_depth(tmp_path / "a.npy", 1)


@pytest.mark.parametrize("line", ["{i} {d}", "{i} {d} 518.8579", "/{i} /{d} 518.8579 more"])
def test_lists_of_two_three_and_more_columns(tmp_path, line):
    write_pair(tmp_path / "sync" / "kitchen_1" / "rgb.png", tmp_path / "sync" / "kitchen_1" / "depth.png", 0)
    path = tmp_path / "list.txt"
    path.write_text("\n" + line.format(i="kitchen_1/rgb.png", d="kitchen_1/depth.png") + "\n\n")
    (entry,) = read_list(path, [tmp_path / "nowhere", tmp_path / "sync"])
    assert entry.image == tmp_path / "sync" / "kitchen_1" / "rgb.png"
    assert entry.depth == tmp_path / "sync" / "kitchen_1" / "depth.png"
    assert entry.scene == "kitchen_1"


def test_lists_with_absolute_paths_none_and_a_third_depth(tmp_path):
    write_pair(tmp_path / "rgb.png", tmp_path / "dense.png", 0)
    path = tmp_path / "list.txt"
    path.write_text(f"{tmp_path}/rgb.png None {tmp_path}/dense.png\n")
    assert read_list(path, [tmp_path / "elsewhere"])[0].depth is None
    assert read_list(path, [tmp_path / "elsewhere"], depth_column=2)[0].depth == tmp_path / "dense.png"


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "empty"), ("rgb.png", "1 columns"), ("a.png b.png", "a.png"), ("rgb.png gone.png", "gone.png")],
)
def test_a_bad_list_says_which_line(tmp_path, text, told):
    write_pair(tmp_path / "rgb.png", tmp_path / "depth.png", 0)
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        read_list(path, [tmp_path])
    with pytest.raises(DataError, match=r"gone\.txt"):
        read_list(tmp_path / "gone.txt", [tmp_path])


def test_what_was_looked_for_is_listed(tmp_path):
    layouts = {"one": (("a", "*.x"),), "two": (("b", "*.y"), (".", "*.z"))}
    with pytest.raises(DataError, match=r"one: a/\*\.x; two: b/\*\.y or \*\.z"):
        recognise(tmp_path, layouts)
    (tmp_path / "file.z").touch()
    assert recognise(tmp_path, layouts) == ("two", tmp_path)
    with pytest.raises(DataError, match=r"looked for one: a/\*\.x;"):
        recognise(tmp_path, layouts, "one")
    with pytest.raises(ValueError, match="three"):
        recognise(tmp_path, layouts, "three")
    with pytest.raises(DataError, match="is not a folder"):
        recognise(tmp_path / "gone", layouts)


def test_a_partial_copy_is_refused_or_reported():
    check_complete("it", 654, 654, False)
    with pytest.raises(DataError, match="653 images of the official 654"):
        check_complete("it", 653, 654, False)
    with pytest.warns(UserWarning, match="653 images of the official 654"):
        check_complete("it", 653, 654, True)
    with pytest.raises(DataError, match="0 images"):
        check_complete("it", 0, 654, True)


def test_whole_recordings_are_held_out():
    groups = [f"drive {index // 3}" for index in range(60)]
    train, validation = hold_out(groups, 10)
    assert sorted(train + validation) == list(range(60))
    assert {groups[index] for index in validation} == {"drive 9", "drive 19"}
    assert not {groups[index] for index in train} & {groups[index] for index in validation}
    assert hold_out(["a", "a", "b"], 10) == ([0, 1], [2])
    assert hold_out(["a"] * 4, 2) == ([0, 2], [1, 3])
