"""Files of KITTI's layouts that are harmed or of the wrong kind."""

import numpy as np

from depthclip.data import KITTI
from tests.bad.judge import Case
from tests.harm import ALL, BROKEN, SPECIAL, read_all
from tests.layouts import picture, values, write_calibration, write_image, write_pair, write_sweep

DATE = "2011_09_26"
DRIVE = f"{DATE}_drive_0002_sync"
RAW = f"{DATE}/{DRIVE}"
SWEEP = f"{RAW}/velodyne_points/data/0000000054.bin"


def recording(folder):
    """Two frames of a recording with sweeps and calibration, and a list of them."""
    write_calibration(folder / DATE)
    for frame in (69, 54):
        write_image(folder / RAW / "image_02" / "data" / f"{frame:010d}.png", picture(frame, 375, 1242))
        write_sweep(folder / RAW / "velodyne_points" / "data" / f"{frame:010d}.bin", frame, 501)
    (folder / "list.txt").write_text(f"{RAW} 69 l\n{RAW} 54 l\n")


def raw(name, harm, *names, truth="velodyne"):
    def run(folder):
        recording(folder)
        harm(folder)
        chosen = str(folder / truth) if truth.endswith(".npz") else truth
        read_all(KITTI(str(folder), truth=chosen, test_list=str(folder / "list.txt")))

    return Case("files kitti raw", name, run, names)


def sweep(name, make):
    """A sweep made anew from the points of the good one."""

    def harm(folder):
        (folder / SWEEP).write_bytes(make(np.fromfile(folder / SWEEP, "<f4").reshape(-1, 4)))

    return raw(f"sweep: {name}", harm, "0000000054.bin")


def some_nan(points):
    points[7, 1] = np.nan
    return points.tobytes()


def calibration(file, name, before, after, *names):
    def harm(folder):
        path = folder / DATE / f"calib_{file}.txt"
        lines = path.read_text().splitlines()
        path.write_text("\n".join(after if line.startswith(before) else line for line in lines))

    return raw(f"calibration: {name}", harm, f"calib_{file}.txt", *names)


def maps(name, write, *names):
    """An .npz of the test images' depth."""
    return raw(f"maps npz: {name}", lambda folder: write(folder / "maps.npz"), "maps.npz", *names, truth="maps.npz")


def savez(*arrays, **named):
    return lambda path: np.savez(path, *arrays, **named)


def npy_under_its_name(path):
    with path.open("wb") as file:
        np.save(file, np.ones((2, 375, 1242), np.float32))


def harmed(harm):
    def write(path):
        np.savez(path, *[values(index, 375, 1242) / 256 for index in (69, 54)])
        harm(path)

    return write


def annotated(name, text, *names, harm=lambda folder: None):
    def run(folder):
        for frame in (69, 54):
            image = folder / RAW / "image_02" / "data" / f"{frame:010d}.png"
            write_pair(image, folder / DRIVE / "proj_depth" / "groundtruth" / "image_02" / f"{frame:010d}.png", frame)
        path = folder / "list.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        harm(folder)
        read_all(KITTI(str(folder), test_list=str(path)))

    return Case("files kitti annotated", name, run, names)


def line(frame, depth=True):
    name = f"{DRIVE}/proj_depth/groundtruth/image_02/{frame:010d}.png" if depth else "None"
    return f"{RAW}/image_02/data/{frame:010d}.png {name} 721.5377\n"


def object_benchmark(name, harm, *names):
    def run(folder):
        write_calibration(folder)
        for index in range(2):
            write_image(folder / "image_2" / f"{index:06d}.png", picture(index, 375, 1242))
            write_sweep(folder / "velodyne" / f"{index:06d}.bin", index, 500)
            (folder / "calib").mkdir(exist_ok=True)
            turn = "0 -1 0 0 0 0 -1 0 1 0 0 0"
            text = f"P2: 700 0 600 0 0 700 180 0 0 0 1 0\nR0_rect: 1 0 0 0 1 0 0 0 1\nTr_velo_to_cam: {turn}\n"
            (folder / "calib" / f"{index:06d}.txt").write_text(text)
        harm(folder)
        read_all(KITTI(str(folder), layout="object"))

    return Case("files kitti object", name, run, names)


def selection(name, harm, *names, partial=True):
    def run(folder):
        place = folder / "val_selection_cropped"
        for frame in (5, 8):
            image = place / "image" / f"{DRIVE}_image_{frame:010d}_image_02.png"
            depth = place / "groundtruth_depth" / f"{DRIVE}_groundtruth_depth_{frame:010d}_image_02.png"
            write_pair(image, depth, frame)
        harm(image, depth)
        read_all(KITTI(str(folder), allow_partial=partial))

    return Case("files kitti selection", name, run, names)


NAN_3 = " ".join(["nan"] * 9)
CASES = [
    *(raw(f"sweep: {name}", lambda f, harm=harm: harm(f / SWEEP), "0000000054.bin") for name, harm in ALL.items()),
    sweep("odd length", lambda x: x.tobytes()[:-3]),
    sweep("big-endian", lambda x: x.astype(">f4").tobytes()),
    sweep("double precision", lambda x: x.astype("<f8").tobytes()),
    sweep("double precision, not from single", lambda x: (x.astype("<f8") * np.pi / 3.14).tobytes()),
    sweep("big-endian doubles", lambda x: x.astype(">f8").tobytes()),
    sweep("half precision", lambda x: x.astype("<f2").tobytes()),
    sweep("integers in millimetres", lambda x: (x * 1000).astype("<i4").tobytes()),
    sweep("millimetres", lambda x: (x * np.float32(1000)).tobytes()),
    sweep("zeros", lambda x: bytes(16 * 500)),
    sweep("NaN", lambda x: np.full_like(x, np.nan).tobytes()),
    sweep("some NaN", some_nan),
    sweep("infinite", lambda x: np.full_like(x, np.inf).tobytes()),
    sweep("huge", lambda x: np.full_like(x, 1e30).tobytes()),
    *(
        raw(f"calibration: {name}", lambda f, harm=harm, n=n: harm(f / DATE / n), n)
        for name, harm in ALL.items()
        if name != "truncated"
        for n in ("calib_velo_to_cam.txt", "calib_cam_to_cam.txt")
    ),
    calibration("velo_to_cam", "NaN rotation", "R:", f"R: {NAN_3}", "R"),
    calibration("velo_to_cam", "NaN shift", "T:", "T: 0 nan 0", "T"),
    calibration("velo_to_cam", "infinite shift", "T:", "T: 0 inf 0", "T"),
    calibration("velo_to_cam", "zero rotation", "R:", "R: 0 0 0 0 0 0 0 0 0", "R"),
    calibration("velo_to_cam", "garbled rotation", "R:", "R: 1 2 x", "R"),
    calibration("velo_to_cam", "mirrored", "R:", "R: -1 0 0 0 1 0 0 0 1", "R"),
    calibration("velo_to_cam", "scaled by 1000", "R:", "R: 1000 0 0 0 1000 0 0 0 1000", "R"),
    calibration("velo_to_cam", "no rotation", "R:", "", "R"),
    calibration("cam_to_cam", "NaN projection", "P_rect_02", f"P_rect_02: {NAN_3} 0 0 0", "P_rect_02"),
    calibration("cam_to_cam", "zero projection", "P_rect_02", "P_rect_02:" + " 0" * 12, "P_rect_02"),
    calibration("cam_to_cam", "too few numbers", "P_rect_02", "P_rect_02: 7 7", "P_rect_02"),
    calibration("cam_to_cam", "negative focal length", "P_rect_02", "P_rect_02: -7 0 6 0 0 7 1 0 0 0 1 0", "P_rect_02"),
    calibration("cam_to_cam", "zero rectification", "R_rect_00", "R_rect_00: 0 0 0 0 0 0 0 0 0", "R_rect_00"),
    maps("a number", savez(np.float32(3), np.float32(3))),
    maps("one dimension", savez(np.ones(9), np.ones(9))),
    maps("text", savez(np.full((375, 1242), "1"), np.full((375, 1242), "1"))),
    maps("complex", savez(*[np.ones((375, 1242), np.complex64)] * 2)),
    maps("8 bits", savez(*[np.ones((375, 1242), np.uint8)] * 2)),
    maps("booleans", savez(*[np.ones((375, 1242), bool)] * 2)),
    maps("three channels", savez(*[np.ones((4, 5, 3))] * 2)),
    maps("another size", savez(*[np.ones((37, 124))] * 2)),
    maps("one missing", savez(np.ones((375, 1242)))),
    maps("nothing", savez()),
    maps("other names", savez(a=np.ones((375, 1242)), b=np.ones((375, 1242)))),
    maps("data is a number", savez(data=np.float32(3)), "data"),
    maps("data of one dimension", savez(data=np.ones(2)), "data"),
    maps("data of two dimensions", savez(data=np.ones((2, 9))), "data"),
    maps("data is text", savez(data=np.full((2, 375, 1242), "1"))),
    maps("data is pickled", savez(data=np.array([None, None], object)), "pickled"),
    maps("maps are pickled", savez(np.array([None], object), np.array([None], object))),
    maps("an .npy under its name", npy_under_its_name),
    *(maps(name, harmed(harm)) for name, harm in ALL.items()),
    *(
        annotated(
            f"depth: {name}",
            line(69) + line(54),
            "0000000054.png",
            harm=lambda f, harm=harm: harm(f / DRIVE / "proj_depth/groundtruth/image_02/0000000054.png"),
        )
        for name, harm in ALL.items()
    ),
    *(
        annotated(
            f"image: {name}",
            line(69) + line(54),
            "0000000054.png",
            harm=lambda f, harm=harm: harm(f / RAW / "image_02/data/0000000054.png"),
        )
        for name, harm in ALL.items()
    ),
    *(
        annotated(f"list: {name}", line(69), "test_list", "list.txt", harm=lambda f, harm=harm: harm(f / "list.txt"))
        for name, harm in (SPECIAL | {"empty": BROKEN["empty"]}).items()
    ),
    annotated("list: all without truth", line(69, False) + line(54, False), "list.txt"),
    annotated("list: a line twice", line(69) + line(54) + line(69), "list.txt", "line 3", "line 1"),
    annotated("list: a line twice in two forms", line(69) + f"{RAW} 69 l\n", "list.txt", "line 2", "line 1"),
    annotated("list: not UTF-8", bytes(range(128, 256)), "list.txt", "UTF-8"),
    annotated("list: neither form", "a.png b.png\n", "list.txt", "line 1", "a.png"),
    annotated("list: a very long line", "x" * 9000, "list.txt", "line 1"),
    annotated("list: a frame that does not exist", line(69) + line(7), "list.txt", "0000000007.png"),
    *(
        object_benchmark(f"image: {name}", lambda f, harm=harm: harm(f / "image_2/000001.png"), "000001.png")
        for name, harm in ALL.items()
    ),
    object_benchmark("sweep: gone", lambda f: (f / "velodyne/000001.bin").unlink(), "000001.bin"),
    object_benchmark("calibration: gone", lambda f: (f / "calib/000001.txt").unlink(), "000001.txt"),
    object_benchmark(
        "calibration: NaN", lambda f: (f / "calib/000001.txt").write_text("P2: nan"), "000001.txt", "finite"
    ),
    selection("depth gone", lambda image, depth: depth.unlink(), "groundtruth_depth_0000000008"),
    selection("image gone", lambda image, depth: image.unlink(), "groundtruth_depth_0000000008", partial=False),
    selection("depth dangling", lambda image, depth: ALL["a dangling link"](depth), "groundtruth_depth_0000000008"),
    selection(
        "depth of 8 bits", lambda image, depth: write_image(depth, picture(0)[..., 0]), "groundtruth_depth_0000000008"
    ),
]
