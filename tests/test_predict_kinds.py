"""The command `predict` on files of every kind: photographs as viewers show them, and files that are skipped."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from depthclip.__main__ import main
from depthclip.data import Photos
from tests.harm import ALL
from tests.layouts import picture
from tests.test_predict import MODEL, QUIET, written

pytestmark = pytest.mark.filterwarnings("ignore:pretrained is null", "ignore:skipped", "ignore:.*were skipped")


@pytest.fixture
def place(tmp_path, monkeypatch, small):
    """A folder with a recipe of a small model."""
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(yaml.safe_dump({"model": MODEL}))
    return tmp_path


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(path, side=20_000):
    """A PNG whose header promises 400 million pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b""))


def content(data):
    return lambda path: path.write_bytes(data)


def half_of(path, file_type):
    """The first half of an image file."""
    Image.fromarray(picture(3, 48, 64)).save(path, file_type)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def wrong_checksum(path):
    """A PNG with a bit of its pixels flipped."""
    Image.fromarray(picture(3, 48, 64)).save(path, "PNG")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


BAD = {name: harm for name, harm in ALL.items() if name != "gone"} | {
    "text": content(b"hello\n" * 99),
    "a page": content(b"<!doctype html><title>404</title>"),
    "a pointer of Git LFS": content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    "PostScript": content(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\nshowpage\n%%EOF\n"),
    "a PDF": content(b"%PDF-1.4\n%%EOF\n"),
    "a bomb": bomb,
    "no pixels": lambda path: bomb(path, 0),
    "2 billion pixels a side": lambda path: bomb(path, 2**31 - 1),
    "floating-point": lambda path: Image.fromarray(GREY.astype(np.float32)).save(path, "TIFF"),
    "32 bits": lambda path: Image.fromarray(np.full((24, 32), 10**9, np.int32)).save(path, "TIFF"),
    "a photograph without its end": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "a PNG with a wrong checksum": wrong_checksum,
    "a TIFF without its pixels": lambda path: half_of(path, "TIFF"),
    "a WebP without its end": lambda path: half_of(path, "WEBP"),
    "an archive": content(b"PK\x03\x04" + bytes(26)),
    "zeros": content(bytes(5000)),
}
PIXELS = picture(3, 48, 64)
GREY = PIXELS[..., 0]
FADED = np.dstack([PIXELS, np.linspace(0, 255, 48 * 64).reshape(48, 64).astype(np.uint8)])
EXIF = Image.Exif()
EXIF[0x0112] = 6  # turned by a quarter
RGB = Image.fromarray(PIXELS)


def save(image, file_type, **options):
    return lambda path: image.save(path, file_type, **options)


def frames(file_type, **options):
    """An animation whose second frame is black."""
    return save(RGB, file_type, save_all=True, append_images=[Image.new("RGB", RGB.size)], **options)


# how to write each kind, and how an image viewer shows it: (H, W, 3)
GOOD = {
    "one pixel": (save(RGB.crop((0, 0, 1, 1)), "PNG"), PIXELS[:1, :1]),
    "one row": (save(RGB.crop((0, 0, 64, 1)), "PNG"), PIXELS[:1]),
    "a PNG": (save(RGB, "PNG"), PIXELS),
    "grey": (save(Image.fromarray(GREY), "PNG"), np.dstack([GREY] * 3)),
    "16-bit grey": (save(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"), np.dstack([GREY] * 3)),
    "black and white": (
        save(Image.fromarray(GREY > 99), "PNG"),
        np.dstack([(GREY > 99).astype(np.uint8) * 255] * 3),
    ),
    "a palette": (save(RGB.quantize(16), "PNG"), np.asarray(RGB.quantize(16).convert("RGB"))),
    "alpha": (
        save(Image.fromarray(FADED), "PNG"),
        (255 + (PIXELS - 255.0) * FADED[..., 3:] / 255).round().astype(np.uint8),
    ),
    "CMYK": (save(RGB.convert("CMYK"), "TIFF"), PIXELS),
    "turned": (save(RGB, "PNG", exif=EXIF), np.rot90(PIXELS, -1)),
    "an animated GIF": (frames("GIF"), np.asarray(RGB.quantize(256).convert("RGB"))),
    "an animated WebP": (frames("WEBP", lossless=True), PIXELS),
}


@pytest.fixture
def kinds(place):
    """A folder with a file of each kind, named .jpg whatever it holds."""
    Path("kinds").mkdir()
    for name, harm in BAD.items():
        path = Path("kinds", f"{name}.jpg")
        Image.fromarray(PIXELS).save(path)
        harm(path)
    for name, (write, _) in GOOD.items():
        write(Path("kinds", f"{name}.jpg"))
    if os.geteuid() != 0:  # root can read it
        Image.fromarray(PIXELS).save("kinds/unreadable.jpg")
        Path("kinds/unreadable.jpg").chmod(0)
    return place


def test_files_of_every_kind(kinds, capsys, recwarn):
    """Each decodable photograph is shown as a viewer shows it; each other file is named, counted and skipped."""
    bad = {*BAD, *([] if os.geteuid() == 0 else ["unreadable"])}
    assert len(bad) >= 25
    assert main(["predict", "kinds", "-c", "run.yaml", "--output", "out", "--formats", "[npy]", *QUIET]) == 3
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert f"{len(GOOD)} depth maps" in printed.out
    assert f"{len(bad)} images could not be read" in printed.out
    messages = [str(each.message) for each in recwarn]
    assert f" and {len(bad) - 20} more" in printed.out  # the summary lists 20, and a warning names each
    for name in bad:
        assert any(message.startswith("skipped: ") and f"kinds/{name}.jpg" in message for message in messages), name
    assert not any("on_error" in message for message in messages if message.startswith("skipped: "))
    for name, (_, shown) in GOOD.items():
        assert np.load(f"out/kinds_{name}.npy").shape == shown.shape[:2], name
    # finished files stay, and broken ones are tried again
    before = written()
    assert main(["predict", "kinds", "-c", "run.yaml", "--output", "out", "--formats", "[npy]", *QUIET]) == 3
    assert written() == before


@pytest.mark.parametrize("name", GOOD)
def test_a_photograph_looks_as_in_a_viewer(kinds, name):
    (sample,) = Photos([f"kinds/{name}.jpg"]).samples("test")
    shown = GOOD[name][1].astype(int)
    assert np.abs(sample.image.permute(1, 2, 0).numpy() - shown).max() <= (12 if "GIF" in name else 1)


def test_only_broken_files_are_an_error(place, capsys):
    Path("x.jpg").write_text("hello")
    assert main(["predict", "x.jpg", "-c", "run.yaml", "--output", "out", *QUIET]) == 2
    assert "the image could not be read" in capsys.readouterr().err
