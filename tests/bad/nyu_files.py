"""Files of NYU's layouts that are harmed or of the wrong kind."""

import h5py
import numpy as np
from scipy.io import savemat

from depthclip.data import NYU, Loading
from tests.bad.judge import Case
from tests.harm import ALL, BROKEN, SPECIAL, read_all
from tests.layouts import picture, write_frame, write_image, write_labelled, write_pair, write_splits

SCENES = ("kitchen", "kitchen", "home_office", "bedroom", "bedroom", "living_room")
MAT = "nyu_depth_v2_labeled.mat"


def labelled(name, harm, *names):
    def run(folder):
        write_labelled(folder / MAT, SCENES)
        write_splits(folder / "splits.mat", train=[1, 2, 5], test=[0, 3, 4])
        harm(folder)
        read_all(NYU(str(folder), layout="labelled", allow_partial=True))

    return Case("files nyu labelled", name, run, names)


def replaced(key, make):
    """Replace a data set of the labelled file by what `make` returns of it; None removes it."""

    def harm(folder):
        with h5py.File(folder / MAT, "r+") as file:
            before = file[key][()]
            del file[key]
            after = make(before)
            if isinstance(after, str):
                file.create_group(key)
            elif after is not None:
                file.create_dataset(key, data=after)

    return harm


def mat(name, key, make, *names):
    return labelled(f"labelled mat: {name}", replaced(key, make), MAT, *names)


def splits(name, *names, **content):
    def harm(folder):
        savemat(folder / "splits.mat", {"trainNdxs": [[2], [3]], "testNdxs": [[1], [4]], **content})

    return labelled(f"splits mat: {name}", harm, "splits.mat", *names)


def frame(name, harm, *names):
    """A harmed HDF5 frame among good ones, raised and skipped."""

    def write(folder):
        for index in range(3):
            write_frame(folder / "val" / "official" / f"{index:05d}.h5", index)
        harm(folder / "val" / "official" / "00001.h5")

    def refused(folder):
        write(folder)
        read_all(NYU(str(folder), allow_partial=True))

    def skipped(folder):
        write(folder)
        data = NYU(str(folder), allow_partial=True, loading=Loading(on_error="skip"), view="whole", scoring="whole")
        data.setup("test")
        assert len([item for batch in data.test_dataloader() for item in batch.items]) == 2

    expect = "warning" if harm in SPECIAL.values() else "refused"  # a partial copy may lack frames
    return [
        Case("files nyu hdf5", f"frame h5: {name}", refused, ("00001.h5", *names), expect),
        Case("files nyu hdf5", f"frame h5: {name} (skipped)", skipped, ("00001.h5",), "warning"),
    ]


def h5(**content):
    def harm(path):
        with h5py.File(path, "w") as file:
            for key, value in {
                "rgb": picture(1).transpose(2, 0, 1),
                "depth": np.ones((24, 32), "f4"),
                **content,
            }.items():
                if isinstance(value, str):
                    file.create_group(key)
                elif value is not None:
                    file[key] = value

    return harm


def vast(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("rgb", (3, 10**6, 10**6), "u1", chunks=(1, 100, 100))
        file.create_dataset("depth", (10**6, 10**6), "f4", chunks=(100, 100))


def official(name, harm, *names, partial=True, expect="warning"):
    def run(folder):
        for index in (0, 1):
            place = folder / "official_splits" / "test" / "kitchen"
            write_pair(place / f"rgb_{index:05d}.jpg", place / f"sync_depth_{index:05d}.png", index)
        harm(folder / "official_splits" / "test" / "kitchen")
        read_all(NYU(str(folder), allow_partial=partial))

    return Case("files nyu official_splits", name, run, names, expect)


def listed(name, text, *names):
    def run(folder):
        for index in range(3):
            write_pair(folder / "set" / f"rgb_{index}.png", folder / "set" / f"depth_{index}.png", index)
        (folder / "outside").mkdir()
        write_image(folder / "outside" / "rgb.png", picture(0))
        path = folder / "list.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.format(folder=folder).encode())
        read_all(NYU(str(folder / "set"), test_list=str(path)))

    return Case("files nyu list", name, run, ("list.txt", *names))


def list_file(name, harm):
    def run(folder):
        path = folder / "list.txt"
        path.write_text("rgb.png depth.png\n")
        harm(path)
        read_all(NYU(str(folder), test_list=str(path)))

    return Case("files nyu list", f"list: {name}", run, ("test_list", "list.txt"))


CASES = [
    *(
        labelled(f"labelled mat: {name}", lambda f, harm=harm: harm(f / MAT), MAT)
        for name, harm in (BROKEN | SPECIAL).items()
        if name != "a dangling link"
    ),
    *(
        labelled(f"splits mat: {name}", lambda f, harm=harm: harm(f / "splits.mat"), "splits.mat")
        for name, harm in (BROKEN | SPECIAL).items()
    ),
    mat("sceneTypes are numbers", "sceneTypes", lambda x: np.arange(6.0)[None], "sceneTypes"),
    mat("sceneTypes are one", "sceneTypes", lambda x: 3.0),
    mat("sceneTypes are gone", "sceneTypes", lambda x: None, "sceneTypes"),
    mat("sceneTypes are a group", "sceneTypes", lambda x: "group"),
    mat("sceneTypes have other shape", "sceneTypes", lambda x: np.zeros((0, 0))),
    mat("fewer images than scenes", "images", lambda x: x[:4]),
    mat("images have four channels", "images", lambda x: np.concatenate([x, x[:, :1]], 1), "images"),
    mat("images have one channel", "images", lambda x: x[:, :1], "images"),
    mat("images have no channel", "images", lambda x: x[:, 0], "images"),
    mat("images are float", "images", lambda x: x / 255, "images"),
    mat("images are 16 bits", "images", lambda x: x.astype(np.uint16), "images"),
    mat("images are a group", "images", lambda x: "group"),
    mat("images are gone", "images", lambda x: None, "images"),
    mat("axes not reversed", "images", lambda x: x.transpose(3, 2, 1, 0), "images"),
    mat("height before width", "images", lambda x: x.transpose(0, 1, 3, 2), "images"),
    mat("depth has other size", "rawDepths", lambda x: x[:, :16, :12], "rawDepths"),
    mat("depth of fewer frames", "rawDepths", lambda x: x[:3], "rawDepths"),
    mat("depth is integers", "rawDepths", lambda x: (x * 1000).astype(np.uint16), "rawDepths"),
    mat("depth is text", "rawDepths", lambda x: np.full(x.shape, b"1.5"), "rawDepths"),
    mat("depth is complex", "rawDepths", lambda x: x.astype(np.complex64), "rawDepths"),
    mat("depth is gone", "rawDepths", lambda x: None, "rawDepths"),
    splits("counted from 0", "0", testNdxs=[[0], [3]]),
    splits("negative", "-1", testNdxs=[[-1], [3]]),
    splits("beyond the last frame", "1450", testNdxs=[[1], [1450]]),
    splits("overlapping", "twice", testNdxs=[[1], [2]]),
    splits("a frame twice", "twice", testNdxs=[[1], [1]]),
    splits("empty", "empty", testNdxs=np.zeros((0, 0))),
    splits("fractions", testNdxs=[[1.5], [3]]),
    splits("NaN", testNdxs=[[np.nan], [3]]),
    splits("complex", testNdxs=[[1 + 1j], [3]]),
    splits("text", testNdxs="one"),
    splits("a cell", testNdxs=np.array([[1, "a"]], object)),
    labelled("splits mat: lacks a split", lambda f: savemat(f / "splits.mat", {"trainNdxs": [[1]]}), "splits.mat"),
    *(case for name, harm in (BROKEN | SPECIAL).items() for case in frame(name, harm)),
    *frame("depth is text", h5(depth=np.full((24, 32), b"1.5"))),
    *frame("depth is complex", h5(depth=np.ones((24, 32), "c8"))),
    *frame("depth is millimetres", h5(depth=np.full((24, 32), 1500, "u2"))),
    *frame("depth is a group", h5(depth="group")),
    *frame("depth is gone", h5(depth=None)),
    *frame("depth has no values", h5(depth=np.ones((0, 0), "f4"), rgb=np.ones((3, 0, 0), "u1"))),
    *frame("depth has other shape", h5(depth=np.ones((12, 16), "f4"))),
    *frame("depth has three dimensions", h5(depth=np.ones((1, 24, 32), "f4"))),
    *frame("rgb is float", h5(rgb=np.ones((3, 24, 32), "f4"))),
    *frame("rgb is last", h5(rgb=picture(0))),
    *frame("rgb is gone", h5(rgb=None)),
    *frame("rgb is a scalar", h5(rgb=np.uint8(1))),
    *frame("a million pixels a side", vast),
    official("an image is gone", lambda f: (f / "rgb_00001.jpg").unlink(), "test/kitchen/rgb_00001.jpg"),
    official("a depth map is gone", lambda f: (f / "sync_depth_00000.png").unlink(), "sync_depth_00000.png"),
    official("partial", lambda f: None, "does not exist", "more", "allow_partial", partial=False, expect="refused"),
    listed(
        "list: a line twice",
        "rgb_0.png depth_0.png\nrgb_1.png depth_1.png\nrgb_0.png depth_0.png\n",
        "line 3",
        "line 1",
    ),
    listed("list: a line twice with a slash", "rgb_0.png depth_0.png\n/rgb_0.png /depth_0.png\n", "line 2", "line 1"),
    listed("list: an absolute path", "/etc/passwd depth_0.png\n", "line 1", "/etc/passwd"),
    listed(
        "list: an absolute path that does not exist", "/nowhere/rgb.png depth_0.png\n", "line 1", "/nowhere/rgb.png"
    ),
    listed("list: out of the root", "../outside/rgb.png depth_0.png\n", "line 1", "../outside/rgb.png"),
    listed("list: out of the root with a slash", "/../outside/rgb.png depth_0.png\n", "line 1"),
    listed("list: a very long name", f"{'x' * 5000} depth_0.png\n", "line 1"),
    listed("list: a folder", ". depth_0.png\n", "line 1"),
    listed("list: one column", "rgb_0.png\n", "line 1"),
    Case("files nyu list", "all without truth", listed("", "rgb_0.png None\n").run, ("none", "depth", "predict")),
    listed("list: blank", "\n \n"),
    listed("list: binary", bytes(range(128, 256))),
    listed("list: a depth map is gone", "rgb_0.png depth_0.png\nrgb_1.png gone.png\n", "line 2", "gone.png"),
    *(list_file(name, harm) for name, harm in ALL.items() if name != "truncated"),
]
