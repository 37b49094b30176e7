"""Image and depth files are read exactly, and errors name the file."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from depthclip.data.files import read_depth, read_rgb
from depthclip.data.layouts import check_complete, hold_out, read_list, recognise
from depthclip.data.samples import DataError
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


@pytest.mark.parametrize("suffix", ["png", "pgm", "tiff"])
def test_16_bit_grey_keeps_its_shades(tmp_path, suffix):
    grey = np.array([[0, 128, 129, 256, 257, 32768, 65535]], np.uint16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "pgm":
        write_pgm(path, grey)
    else:
        write_image(path, grey)
    assert read_rgb(path)[0, 0].tolist() == [round(int(value) * 255 / 65535) for value in grey[0]]


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_16_bit_colours_and_other_modes(tmp_path):
    # 48-bit PNG, which PIL does not write: one row of two pixels
    row = struct.pack(">B6H", 0, 0, 32768, 65535, 257, 514, 65280)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(row)) + png_chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    deep = read_rgb(tmp_path / "deep.png")[:, 0].T.numpy().astype(int)
    assert np.abs(deep - [[0, 128, 255], [1, 2, 254]]).max() <= 1

    Image.fromarray(picture(0)).convert("1").save(tmp_path / "bits.png")
    bits = np.asarray(Image.fromarray(picture(0)).convert("1"))
    assert np.array_equal(read_rgb(tmp_path / "bits.png")[0], bits * 255)

    Image.new("CMYK", (4, 3), (0, 255, 255, 0)).save(tmp_path / "ink.tiff")  # magenta and yellow print red
    assert read_rgb(tmp_path / "ink.tiff")[:, 0, 0].tolist() == [255, 0, 0]

    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert read_rgb(tmp_path / "moving.gif")[:, 0, 0].tolist() == [255, 0, 0]
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    assert read_rgb(tmp_path / "dot.png").flatten().tolist() == [255, 0, 0]


def test_transparent_images_lie_on_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = 0, 51, 255
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    expected = [[255, 244, 200], [255, 204, 0], [255, 204, 0]]
    assert read_rgb(tmp_path / "rgba.png")[:, 0].tolist() == expected
    grey = Image.fromarray(pixels[..., [0, 3]])
    assert grey.mode == "LA"
    grey.save(tmp_path / "la.png")
    assert read_rgb(tmp_path / "la.png")[:, 0].tolist() == [[255, 244, 200]] * 3
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 0, 0, 0, 0, 200])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=0)
    assert read_rgb(tmp_path / "p.png")[:, 0].T.tolist() == [[255, 255, 255], [0, 0, 200]]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(tmp_path, suffix, orientation, turns):
    # dark on top and bright below, left half less so: survives JPEG
    pixels = np.full((16, 32, 3), 20, np.uint8)
    pixels[8:] = 220
    pixels[8:, :16] = 120
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    read = read_rgb(tmp_path / f"a.{suffix}").permute(1, 2, 0).numpy()
    expected = np.rot90(pixels, turns)  # counter-clockwise
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).max() < 30


def test_a_damaged_exif_block_is_ignored(tmp_path):
    Image.fromarray(picture(0)).save(tmp_path / "a.png", exif=b"Exif\0\0" + bytes(range(60)))
    assert np.array_equal(read_rgb(tmp_path / "a.png").permute(1, 2, 0), picture(0))


@pytest.mark.parametrize("dtype", [">f4", "<f8", "<f2", "<u2", ">i4", "<u8"])
def test_arrays_of_any_number_type_and_byte_order(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.array([[1, 2, 3], [0, 40, 500]], dtype))
    assert read_depth(tmp_path / "a.npy", 1).tolist() == [[1, 2, 3], [0, 40, 500]]
    np.save(tmp_path / "b.npy", np.asfortranarray(np.arange(6, dtype=dtype).reshape(2, 3)))
    assert read_depth(tmp_path / "b.npy", 1).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_16_bit_png_and_pgm_give_the_same_metres(tmp_path):
    depth = values(1)
    depth[0, 0] = 65535  # beyond what a signed 16-bit integer holds
    png, pgm = write_image(tmp_path / "a.png", depth), write_pgm(tmp_path / "a.pgm", depth)
    with Image.open(png) as first, Image.open(pgm) as second:
        assert first.mode.startswith("I;16")
        assert second.mode == "I"
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
    ("text", "message"),
    [("", "empty"), ("rgb.png", "1 columns"), ("a.png b.png", "a.png"), ("rgb.png gone.png", "gone.png")],
)
def test_the_error_of_a_bad_list_names_the_line(tmp_path, text, message):
    write_pair(tmp_path / "rgb.png", tmp_path / "depth.png", 0)
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_list(path, [tmp_path])
    with pytest.raises(DataError, match=r"gone\.txt"):
        read_list(tmp_path / "gone.txt", [tmp_path])


def test_what_was_looked_for_is_listed(tmp_path):
    layouts = {"first": (("a", "*.x"),), "second": (("b", "*.y"), (".", "*.z"))}
    with pytest.raises(DataError, match=r"first: a/\*\.x; second: b/\*\.y or \*\.z"):
        recognise(tmp_path, layouts)
    (tmp_path / "file.z").touch()
    assert recognise(tmp_path, layouts) == ("second", tmp_path)
    with pytest.raises(DataError, match=r"looked for first: a/\*\.x;"):
        recognise(tmp_path, layouts, "first")
    with pytest.raises(ValueError, match="third"):
        recognise(tmp_path, layouts, "third")
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
