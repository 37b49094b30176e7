"""Files of Pairs that are harmed, of the wrong kind, or incomplete."""

import numpy as np
from PIL import Image

from depthclip.data import Loading, Pairs
from tests.bad.judge import Case
from tests.harm import ALL, BROKEN, SPECIAL, load_all, read_all
from tests.layouts import picture, values, write_image, write_pair, write_pgm


def write(folder, suffix, image_suffix="png"):
    for index in range(3):
        write_image(folder / f"{index}.color.{image_suffix}", picture(index))
        depth, path = values(index), folder / f"{index}.depth.{suffix}"
        if suffix == "npy":
            np.save(path, depth.astype(np.float32))
        elif suffix == "pgm":
            write_pgm(path, depth)
        elif suffix == "tiff":
            write_image(path, depth.astype(np.float32))
        else:
            write_image(path, depth)


def data(folder, suffix="png", **given):
    given = {"scale": 1000.0, **given}
    return Pairs(str(folder), "*.color.png", f"*.depth.{suffix}", **given)


def refused(name, suffix, harm, *names, kind=None):
    """A harmed file that is named when everything is read."""

    def run(folder):
        write(folder, suffix)
        harm(folder)
        read_all(data(folder, suffix))

    return Case(f"files pairs {kind or suffix}", name, run, names)


def skipped(name, suffix, harm, *names, kind=None):
    """The same with loading.on_error: skip, which warns and counts."""

    def run(folder):
        write(folder, suffix)
        harm(folder)
        read = data(folder, suffix, loading=Loading(on_error="skip"))
        read.setup("test")
        assert [item.index for batch in read.test_dataloader() for item in batch.items] == [0, 2]

    return Case(f"files pairs {kind or suffix}", f"{name} (skipped)", run, names, "warning")


def both(name, suffix, harm, kind=None):
    path = f"1.depth.{suffix}"
    return [refused(name, suffix, harm, path, kind=kind), skipped(name, suffix, harm, "1 of 3", kind=kind)]


def on_depth(suffix, harm):
    return lambda folder: harm(folder / f"1.depth.{suffix}")


def on_image(harm):
    return lambda folder: harm(folder / "1.color.png")


def as_array(make):
    return lambda folder: np.save(folder / "1.depth.npy", make(), allow_pickle=True)


def as_bytes(suffix, data):
    return lambda folder: (folder / f"1.depth.{suffix}").write_bytes(data)


def npy_header(shape, descr="<f4"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


def as_picture(pixels, mode=None):
    def harm(folder):
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(folder / "1.depth.png")

    return harm


def turned(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(1)).save(folder / "1.color.png", exif=exif)


SHAPE = (24, 32)
ARRAYS = {
    "text": lambda: np.full(SHAPE, "1.5"),
    "bytes": lambda: np.full(SHAPE, b"1.5"),
    "complex": lambda: np.full(SHAPE, 1 + 1j),
    "a record": lambda: np.zeros(SHAPE, [("depth", "<f4")]),
    "booleans": lambda: np.ones(SHAPE, bool),
    "8 bits": lambda: np.ones(SHAPE, np.uint8),
    "dates": lambda: np.zeros(SHAPE, "datetime64[s]"),
    "objects": lambda: np.full(SHAPE, None),
    "three channels": lambda: np.ones((*SHAPE, 3), np.float32),
    "one dimension": lambda: np.ones(24 * 32, np.float32),
    "a scalar": lambda: np.float32(3),
    "no values": lambda: np.ones((0, 32), np.float32),
    "another size": lambda: np.ones((12, 16), np.float32),
    "the axes swapped": lambda: np.ones((32, 24), np.float32),
}
PICTURES = {
    "8 bits": as_picture(picture(0)[..., 0]),
    "three channels": as_picture(picture(0)),
    "a palette": as_picture(picture(0), "P"),
    "1 bit": as_picture(picture(0), "1"),
    "alpha": as_picture(picture(0), "RGBA"),
    "another size": as_picture(values(0, 12, 16)),
}


def table(name, text, *names, stage="test"):
    def run(folder):
        for index in range(3):
            write_pair(folder / "set" / f"{index}.png", folder / "set" / f"{index}.d.png", index)
        write_pair(folder / "outside.png", folder / "outside.d.png", 0)
        path = folder / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.format(folder=folder).encode())
        read_all(Pairs(str(folder / "set"), table=str(path)), stage)

    return Case("files pairs table", name, run, ("t.csv", *names))


def table_file(name, harm):
    def run(folder):
        (folder / "t.csv").write_text("image,depth\n")
        harm(folder / "t.csv")
        read_all(Pairs(str(folder), table=str(folder / "t.csv")))

    return Case("files pairs table", f"table: {name}", run, ("t.csv",))


def all_invalid(folder):
    write(folder, "png")
    for path in folder.glob("*.depth.png"):
        write_image(path, np.zeros(SHAPE, np.uint16))
    load_all(data(folder))


def scaled(scale):
    def run(folder):
        write(folder, "png")
        load_all(data(folder, scale=scale))

    return Case("wrong unit", f"millimetres with scale {scale}", run, (f"scale {scale:g}",), "warning")


CASES = [
    *(
        case
        for suffix in ("png", "npy", "pgm", "tiff")
        for name, harm in BROKEN.items()
        for case in both(f"depth: {name}", suffix, on_depth(suffix, harm))
    ),
    *(case for name, harm in SPECIAL.items() for case in both(f"depth: {name}", "png", on_depth("png", harm))),
    *(case for name, make in ARRAYS.items() for case in both(f"depth npy: {name}", "npy", as_array(make))),
    *(case for name, harm in PICTURES.items() for case in both(f"depth png: {name}", "png", harm)),
    *both("depth npy: a billion values", "npy", as_bytes("npy", npy_header((10**5, 10**5)))),
    *both("depth npy: more than there can be", "npy", as_bytes("npy", npy_header((10**12, 10**12)))),
    *both("depth npy: a negative shape", "npy", as_bytes("npy", npy_header((-24, 32)))),
    *both("depth pgm: size of a billion", "pgm", as_bytes("pgm", b"P5 100000 10000 65535\n" + bytes(99))),
    *both("depth pgm: 150 million pixels in 99 bytes", "pgm", as_bytes("pgm", b"P5 15000 10000 65535\n" + bytes(99))),
    *both("depth pgm: no size", "pgm", as_bytes("pgm", b"P5 0 0 65535\n" + bytes(99))),
    *(refused(f"image: {name}", "png", on_image(harm), "1.color.png", kind="image") for name, harm in ALL.items()),
    *(skipped(f"image: {name}", "png", on_image(harm), "1 of 3", kind="image") for name, harm in ALL.items()),
    refused("depth: gone", "png", on_depth("png", ALL["gone"]), "1.color.png", "1.depth.png"),
    skipped("depth: gone", "png", on_depth("png", ALL["gone"]), "1 of 3"),
    refused("image: lies on its side", "png", turned, "1.color.png", "32 x 24", "1.depth.png", kind="image"),
    table("a line twice", "image,depth\n0.png,0.d.png\n1.png,1.d.png\n0.png,0.d.png\n", "line 4", "line 2"),
    table("out of the root", "image,depth\n../outside.png,../outside.d.png\n", "line 2", "../outside.png"),
    table("a very long name", f"image,depth\n{'x' * 5000},0.d.png\n", "line 2"),
    table("a null character", "image,depth\n0\0.png,0.d.png\n"),
    table("an absolute path to no image", "image,depth\n/etc/passwd,0.d.png\n", "line 2", "/etc/passwd"),
    table("image gone", "image,depth\ngone.png,0.d.png\n", "line 2", "gone.png"),
    table("depth gone", "image,depth\n0.png,gone.png\n", "line 2", "gone.png"),
    table("image empty", "image,depth\n,0.d.png\n", "line 2"),
    table("a folder", "image,depth\n.,0.d.png\n", "line 2", "folder"),
    table("split unknown", "image,depth,split\n0.png,0.d.png,dev\n", "line 2", "'dev'"),
    table("split empty", "image,depth,split\n0.png,0.d.png,\n", "line 2"),
    table("split of another case", "image,depth,split\n0.png,0.d.png,Test\n", "line 2", "'Test'"),
    table("no test split", "image,depth,split\n0.png,0.d.png,train\n", "test"),
    table("too many columns", "image,depth\n0.png,0.d.png,test,more\n", "line 2"),
    table("too few columns", "image,depth\n\n0.png\n,\n"),
    table("header misspelt", "images,depths\n0.png,0.d.png\n", "image"),
    table("header only", "image,depth\n", "rows"),
    table("semicolons", "image;depth\n0.png;0.d.png\n", "columns"),
    table("not UTF-8", b"image,depth\n\xff\xfe.png,0.d.png\n", "UTF-8"),
    Case(
        "files pairs table", "none has truth", lambda f: table("", "image,depth\n0.png,\n").run(f), ("depth", "predict")
    ),
    *(table_file(name, harm) for name, harm in ALL.items() if name not in ("truncated", "garbage")),
    Case("wrong unit", "all depth is invalid", all_invalid, ("valid", "scale 1000"), "warning"),
    *(scaled(scale) for scale in (1.0, 1e5, 1e6)),
]
