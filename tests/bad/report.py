"""Reports: names and figures of rows, numbers of pictures, folders of depth maps, and figures of nothing."""

import functools
import os

from PIL import Image
from pytorch_lightning import Trainer

from depthclip import Bins, DepthCLIP, DepthHead, Prompts
from depthclip.data import Photos, Rooms
from depthclip.depth_writer import DepthWriter
from depthclip.protocol import Scoring
from depthclip.report import Report
from tests.bad.judge import Case
from tests.conftest import frozen

RESERVED = ("head", "random", "training constant", "training median map", "best constant (oracle)", "Random", " head ")
ARRAYS = ("errors", "rows", "error", "image", "scene", "pixels", "file")
MALFORMED = ("", " ", "a\nb", "a\tb", "a\0b", "\x1b[31mred", "\u202ereversed", "\udcff", "x" * 201, "y" * 100_000)
UNKNOWN = ("absrel", "AbsRel", "delta", "rmse ", "[/b]", r"$\foo$", "a/b", "")
NUMBERS = (float("nan"), float("inf"), -float("inf"), -0.1, "0.3", None, True, [0.3])
ENCODER = functools.cache(lambda: frozen("small-vit", "tokens"))


def head(values=(1, 2, 3, 4, 6), **settings):
    return DepthHead(Prompts("five"), Bins(list(values)), **settings)


def model(**settings):
    return DepthCLIP(ENCODER(), settings.pop("head", head()), **settings)


def refuse(kind, name, build, *names):
    return Case(f"argument {kind}", name, lambda folder: build() and None, names)


def trainer(folder, **output):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    writers = [Report(), DepthWriter(**output)]
    return Trainer(default_root_dir=folder, callbacks=writers, enable_checkpointing=False, **quiet)


def scored(folder, function="test", scoring=None, **settings):
    """Score one room."""
    data = Rooms(train_size=1, val_size=1, test_size=1, view="whole", scoring=Scoring(**(scoring or {})))
    getattr(trainer(folder), function)(model(panels=1, **settings), data, verbose=False)


def into(make, output="out", recipe=None):
    """Predict a photograph into a folder that is prepared by `make`."""

    def run(folder):
        photo = folder / "p.jpg"
        Image.new("RGB", (64, 64)).save(photo)
        make(folder)
        run = trainer(folder, output=folder / output, recipe=recipe)
        run.predict(model(), Photos(["p.jpg"]), return_predictions=False)

    return run


def write(name, data):
    def make(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return make


def foreign(name, kind):
    def make(folder):
        (folder / "out").mkdir()
        if kind == "image":
            Image.new("RGB", (64, 64)).save(folder / "out" / name)
        elif kind == "folder":
            (folder / "out" / name).mkdir()
        else:
            os.mkfifo(folder / "out" / name)

    return make


CASES = [
    *(
        refuse("variants", f"named {n!r}", lambda n=n: model(variants={n: head()}), "variants", repr(n))
        for n in RESERVED
    ),
    *(refuse("variants", f"named {n!r}", lambda n=n: model(variants={n: head()}), "variants", repr(n)) for n in ARRAYS),
    *(
        refuse(
            "variants", f"malformed {n[:9]!r}", lambda n=n: model(variants={n: head()}), "variants", repr(n)[1:50][:-1]
        )
        for n in MALFORMED
    ),
    *(
        refuse("published", f"malformed {n[:9]!r}", lambda n=n: model(published={n: {"rmse": 1}}), "published")
        for n in MALFORMED
    ),
    *(
        refuse("published", f"error {e!r}", lambda e=e: model(published={"them": {e: 1}}), "published 'them'", repr(e))
        for e in UNKNOWN
    ),
    *(
        refuse("published", f"rmse {x!r}", lambda x=x: model(published={"them": {"rmse": x}}), "'them': rmse", repr(x))
        for x in NUMBERS
    ),
    *(
        refuse(
            "published", f"delta1 {x}", lambda x=x: model(published={"them": {"delta1": x}}), "'them': delta1", str(x)
        )
        for x in (1.01, 39.2, 100)
    ),
    *(
        refuse("published", f"a row {x!r}", lambda x=x: model(published={"them": x}), "published 'them'", repr(x))
        for x in ({}, 0.3, [0.3], None)
    ),
    *(
        refuse("model", f"alignments {x!r}", lambda x=x: model(alignments=x), "alignments", x[-1])
        for x in (["mean"], ["scale", "affine", "scale"])
    ),
    *(
        refuse("model", f"panels {x!r}", lambda x=x: model(panels=x), "panels", repr(x))
        for x in (-1, 101, 10**9, 10**30, 1.5, float("nan"), "4", True, None)
    ),
    Case("output", "a file", into(write("out", b"")), ("output", "out")),
    Case("output", "below a file", into(write("out", b""), "out/depth"), ("output", "out/depth")),
    Case("output", "below a device", into(write("x", b""), "/dev/null/x"), ("output", "/dev/null/x")),
    *(
        Case("output", f"{name} is another {kind}", into(foreign(name, kind)), (name,))
        for name in ("p.png", "p.colour.png")
        for kind in ("image", "folder", "pipe")
    ),
    *(
        Case("output", f"the index is {data[:20]!r}", into(write("out/index.json", data)), ("index.json",))
        for data in (b"", b"[", b"[1]", b"{}", b"3", b"\xff")
    ),
    Case("output", "maps of another model", into(write("out/index.json", b'{"settings": {}, "maps": {}}')), ("out",)),
    Case("output", "the index is a folder", into(foreign("index.json", "folder")), ("index.json",)),
    *(
        Case(
            "no figures", f"{f}, scoring {limits}", lambda folder, f=f, limits=limits: scored(folder, f, limits), names
        )
        for f in ("test", "validate")
        for limits, names in (
            ({"min_depth": 500, "max_depth": 600}, ("scoring", "500", "600")),
            ({"crop": (0, 0, 1, 0)}, ("crop",)),
        )
    ),
    Case(
        "no figures",
        "weights that overflow",
        lambda folder: scored(folder, head=head(temperature=1e-40)),
        ("temperature",),
    ),
    Case(
        "suspicious",
        "saturated",
        lambda folder: scored(folder, head=head(temperature=1e-5)),
        ("temperature",),
        "warning",
    ),
    Case(
        "suspicious",
        "bins beyond the scoring",
        lambda folder: scored(folder, head=head([1, 2, 3, 4, 50])),
        ("max_depth 10 m", "50 m"),
        "warning",
    ),
]
