"""Depth maps of other methods that cannot be scored, and options of `score` and `predict --formats`."""

import os

import numpy as np
from PIL import Image

from depthclip.predictions import Predicted
from tests.bad.command_line import command, recipe
from tests.bad.judge import Case
from tests.layouts import picture, write_image

MAP = "out/1.npy"


def prepare(folder, harm):
    """Write three images and a depth map of each, harm them, and return the recipe."""
    (folder / "out").mkdir()
    for k in range(3):
        write_image(folder / f"images/{k}.jpg", picture(k))
        write_image(folder / f"images/{k}.png", np.full((24, 32), 3000, np.uint16))
        np.save(folder / f"out/{k}.npy", np.full((24, 32), 3, np.float32))
    harm(folder)
    where = {"root": "images", "image_pattern": "*.jpg", "depth_pattern": "*.png"}
    return recipe(folder, data={"class_path": "depthclip.data.Pairs", "init_args": where})


def refused(name, harm, *names, options=("--predictions", "out"), expect="refused"):
    """A harmed folder, or options that are refused."""
    run = lambda folder: command("score", "-c", prepare(folder, harm), *options)  # noqa: E731
    return Case("predictions", name, run, names, expect)


def stored(values):
    return lambda folder: np.save(folder / MAP, np.asarray(values))


def replaced(write):
    def harm(folder):
        (folder / MAP).unlink()
        write(folder)

    return harm


def scaled(factor):
    def harm(folder):
        for path in (folder / "out").glob("*.npy"):
            np.save(path, np.load(path) * np.float32(factor))

    return harm


def as_is(folder):
    """Harm nothing."""


ONE = np.ones((24, 32), np.float32)
OUT = ("--predictions", "out")
CASES = [
    refused("no folder", as_is, "nowhere", options=("--predictions", "nowhere")),
    refused("a file as folder", as_is, "out/0.npy", options=("--predictions", "out/0.npy")),
    refused("an empty folder", lambda f: [p.unlink() for p in (f / "out").iterdir()], "out", ".npy"),
    refused("no suffix of this kind", as_is, "out", ".png", options=(*OUT, "--suffix", ".png")),
    refused("a missing map", lambda f: (f / MAP).unlink(), "1 of 3", "1.jpg"),
    refused("other names", lambda f: os.rename(f / MAP, f / "out/one.npy"), "1 of 3", "1.jpg"),
    refused("two maps of an image", lambda f: np.save(f / "out/1.jpg.npy", ONE), "1.jpg", "belong", expect="warning"),
    refused(
        "two formats",
        lambda f: write_image(f / "out/1.png", np.ones((24, 32), np.uint16)),
        "1.jpg",
        "1.npy, 1.png",
        "suffix",
    ),
    refused("another size", stored(np.ones((12, 16))), MAP, "12 x 16", "24 x 32", "covers"),
    refused("turned", stored(ONE.T), MAP, "32 x 24"),
    refused("three channels", stored(np.ones((24, 32, 3))), MAP, "(24, 32, 3)"),
    refused("8 bits", stored(np.ones((24, 32), np.uint8)), MAP, "uint8"),
    refused("text", stored(np.full((24, 32), "x")), MAP),
    refused("objects", stored(np.array([[{}]])), MAP),
    refused("NaN", stored(np.where(np.eye(24, 32), np.nan, ONE)), MAP, "24 values", "nan"),
    refused("infinite", stored(ONE * np.inf), MAP, "inf"),
    refused("negative", stored(-ONE), MAP, "-1"),
    refused("zero", stored(0 * ONE), MAP, "0 everywhere"),
    refused("zero in parts", stored(np.eye(24, 32)), "1 depth maps", expect="warning"),
    refused("integers without scale", stored(np.ones((24, 32), np.int32)), MAP, "int32", "scale"),
    refused("truncated", lambda f: (f / MAP).write_bytes((f / MAP).read_bytes()[:200]), MAP),
    refused("empty file", lambda f: (f / MAP).write_bytes(b""), MAP),
    refused("no array", lambda f: (f / MAP).write_text("depth"), MAP),
    refused("a pipe", replaced(lambda f: os.mkfifo(f / MAP)), MAP),
    refused("a broken link", replaced(lambda f: (f / MAP).symlink_to("gone")), MAP, "gone"),
    refused("npz of several", replaced(lambda f: np.savez(f / "out/1.npz", a=ONE, b=ONE)), "1.npz", "a, b"),
    refused("an empty npz", replaced(lambda f: np.savez(f / "out/1.npz")), "1.npz", "none"),
    refused("no PNG", replaced(lambda f: (f / "out/1.png").write_bytes(b"\x89PNG")), "1.png"),
    refused("JPEG as PNG", replaced(lambda f: Image.new("L", (32, 24)).save(f / "out/1.png", "JPEG")), "1.png"),
    refused("a coloured TIFF", replaced(lambda f: Image.new("RGB", (32, 24)).save(f / "out/1.tif")), "1.tif", "uint8"),
    refused("millimetres", scaled(1000), "out", "scale 1", "1000"),
    refused("decimetres", scaled(10), "out", "scale 1", "10"),
    refused("kilometres", scaled(0.001), "out", "scale 1", "0.001"),
    refused("extra maps", lambda f: np.save(f / "out/9.npy", ONE), "1 depth maps", "9.npy", expect="warning"),
    refused("no predictions", as_is, "--predictions", options=()),
    refused("a path without value", as_is, "--predictions", options=("--predictions",)),
    refused("two of a name", as_is, "out", options=(*OUT, *OUT)),
    refused("a reserved name", as_is, "random", options=("--predictions", "random=out")),
    refused("no name", as_is, "''", options=("--predictions", "=out")),
    refused("scale of no row", as_is, "mine", "out", options=(*OUT, "--scale", "mine=2")),
    refused("two scales", as_is, "--scale", "2", options=(*OUT, "--scale", "2", "--scale", "out=3")),
    refused("scale no number", as_is, "--scale", "x", options=(*OUT, "--scale", "x")),
    refused("scale 0", as_is, "scale", "0", options=(*OUT, "--scale", "0")),
    refused("scale NaN", as_is, "scale", "nan", options=(*OUT, "--scale", "nan")),
    refused("covers", as_is, "covers", "'all'", options=(*OUT, "--covers", "all")),
    refused("suffix", as_is, "suffix", "'.jpg'", options=(*OUT, "--suffix", ".jpg")),
    refused("an unknown option", as_is, "predictons", options=(*OUT, "--predictons", "x")),
    refused("an option of the model", as_is, "model.head", options=(*OUT, "--model.head.temperature", "1")),
    refused("panels", as_is, "panels", "-1", options=(*OUT, "--model.panels", "-1")),
    refused("run name", as_is, "name", "../x", options=(*OUT, "--name", "../x")),
    refused("no such recipe", as_is, "gone.yaml", options=(*OUT, "-c", "gone.yaml")),
    Case("predictions", "no data", lambda folder: command("score", *OUT), ("data",)),
    Case("predictions", "Predicted without folder", lambda folder: Predicted("a", "gone") and None, ("gone", "'a'")),
    Case(
        "predictions",
        "formats of test",
        lambda folder: command("test", "-c", prepare(folder, as_is), "--formats", "[npy]"),
        ("formats", "npy"),
    ),
    Case(
        "predictions",
        "no formats",
        lambda folder: command("predict", "-c", prepare(folder, as_is), "--formats", "[]"),
        ("formats", "[]"),
    ),
    Case(
        "predictions",
        "overwrite of test",
        lambda folder: command("test", "-c", prepare(folder, as_is), "--overwrite"),
        ("overwrite", "True"),
    ),
    Case(
        "predictions",
        "photographs beside images",
        lambda folder: command("predict", "a.jpg", "-c", prepare(folder, as_is), "--data.images", "[b.jpg]"),
        ("a.jpg", "--data.images"),
    ),
    Case(
        "predictions",
        "photographs that do not exist",
        lambda folder: command("predict", "gone.jpg", "-c", prepare(folder, as_is)),
        ("images", "gone.jpg"),
    ),
    Case(
        "predictions",
        "unknown vector",
        lambda folder: command("predict", "-c", prepare(folder, as_is), "--vector", "eps"),
        ("vector", "eps"),
    ),
    Case(
        "predictions",
        "unknown vector of score",
        lambda folder: command("score", *OUT, "--vector", "eps"),
        ("vector", "eps"),
    ),
    Case(
        "predictions",
        "unknown formats",
        lambda folder: command("predict", "-c", prepare(folder, as_is), "--formats", "[exr]"),
        ("formats", "exr"),
    ),
]
