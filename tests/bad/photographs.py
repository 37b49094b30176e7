"""Photographs that are harmed or of rare kinds."""

import struct
import zlib

import numpy as np
from PIL import Image

from depthclip.data import Loading, Photos
from tests.bad.judge import Case
from tests.harm import ALL, load_all
from tests.layouts import picture, write_image


def png_header(width, height):
    """A PNG that promises a size and has nothing behind."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def harmed(name, harm, *names, suffix="jpg"):
    """A harmed photograph among good ones, raised and skipped."""

    def write(folder):
        for index in range(3):
            write_image(folder / f"{index}.{suffix}", picture(index))
        harm(folder / f"1.{suffix}")

    def refused(folder):
        write(folder)
        images = [str(folder / f"{index}.{suffix}") for index in range(3)]
        load_all(Photos(images, loading=Loading(batch_size=1)), "predict")

    def skipped(folder):
        write(folder)
        data = Photos([str(folder / f"*.{suffix}"), str(folder / f"1.{suffix}")], loading=Loading(on_error="skip"))
        data.setup("predict")
        assert len([item for batch in data.predict_dataloader() for item in batch.items]) == 2

    return [
        Case("photographs", name, refused, (f"1.{suffix}", *names)),
        Case("photographs", f"{name} (skipped)", skipped, ("1 of 3",), "warning"),
    ]


def save(pixels, **options):
    return lambda path: Image.fromarray(pixels).save(path, **options)


def content(data):
    return lambda path: path.write_bytes(data)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\nshowpage\n%%EOF\n"
CASES = [
    *(case for name, harm in ALL.items() if name not in ("gone", "a folder") for case in harmed(f"jpg: {name}", harm)),
    *(
        case
        for name, harm in ALL.items()
        if name in ("empty", "truncated", "garbage")
        for case in harmed(f"png: {name}", harm, suffix="png")
    ),
    *harmed("20,000 x 15,000 (300 million pixels)", content(png_header(20000, 15000)), suffix="png"),
    *harmed("2 billion pixels a side", content(png_header(2**31 - 1, 2**31 - 1)), suffix="png"),
    *harmed("no pixels", content(png_header(0, 0)), suffix="png"),
    *harmed("text", content(b"hello\n" * 99)),
    *harmed("a pointer of Git LFS", content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")),
    *harmed("PostScript under a picture's name", content(POSTSCRIPT)),
    *harmed("floating-point TIFF", save(picture(0)[..., 0].astype(np.float32)), suffix="tiff"),
    *harmed("floating-point TIFF with NaN", save(np.full((24, 32), np.nan, np.float32)), suffix="tiff"),
    *harmed("32-bit TIFF", save(np.full((24, 32), 10**9, np.int32)), suffix="tiff"),
    *harmed("negative TIFF", save(np.full((24, 32), -5, np.int32)), suffix="tiff"),
    Case(
        "photographs", "a null character in the path", lambda f: load_all(Photos(["a\0.jpg"]), "predict"), ("images",)
    ),
    Case(
        "photographs",
        "a path longer than a file name may be",
        lambda f: load_all(Photos([str(f / f"{'y' * 300}.jpg")]), "predict"),
        ("images", "yyy.jpg"),
    ),
    Case(
        "photographs",
        "a long pattern",
        lambda f: load_all(Photos([str(f / f"{'y' * 300}*.jpg")]), "predict"),
        ("images", "yyy*.jpg"),
    ),
]
