"""Arguments of the data modules and of Augment out of their domain."""

from depthclip.data import KITTI, NYU, Loading, Make3D, Pairs, Photos, Rooms, Shots
from depthclip.data.augment import Augment
from tests.bad.judge import Case
from tests.harm import load_all, read_all
from tests.layouts import picture, write_image, write_laser_grid, write_pair

NAN, INF = float("nan"), float("inf")
LONG = "x" * 5000
TABLE = {"table": "a.csv"}
MODULES = {
    "KITTI": (KITTI, {}),
    "Make3D": (Make3D, {}),
    "NYU": (NYU, {}),
    "Pairs": (Pairs, TABLE),
    "Photos": (Photos, {"images": ["a.jpg"]}),
    "Rooms": (Rooms, {"train_size": 1, "val_size": 1, "test_size": 1}),
}


def refuse(kind, make, argument, value, given=None):
    """An argument that the constructor refuses."""
    name = f"{argument} = {value if value != LONG else 'a very long one'!r}"
    shown = () if value in (LONG, "\0") or isinstance(value, list | tuple) else (repr(value),)
    return Case(
        f"argument {kind}", name, lambda folder: make(**{**(given or {}), argument: value}) and None, (argument, *shown)
    )


def six(folder):
    for index in range(6):
        write_pair(folder / f"{index}.color.png", folder / f"{index}.depth.png", index)


def pairs(argument, value, stage="test", **given):
    """An argument of Pairs that only the files show to be wrong."""

    def run(folder):
        six(folder)
        chosen = {"root": str(folder), "image_pattern": "*.color.png", "depth_pattern": "*.depth.png", **given}
        read_all(Pairs(**{**chosen, argument: value}), stage)

    return Case(
        "argument Pairs", f"{argument} = {value if value != LONG else 'long'}", run, (argument, str(value)[:40])
    )


def setup(kind, make, argument, value, prepare=None, **given):
    """An argument that the files show to be wrong at setup."""

    def run(folder):
        if prepare is not None:
            prepare(folder)
        read_all(make(**{"root": str(folder), **given, argument: value}))

    return Case(f"argument {kind}", f"{argument} = {str(value)[:40]}", run, (argument, str(value)[:40]))


def photos(value, *names):
    def run(folder):
        (folder / "model.yaml").write_text("model: none")
        (folder / "none").mkdir()
        read_all(Photos([value]), "predict")

    return Case("argument Photos", f"images = {value[:40]!r}", run, ("images", *names))


def augment(crop):
    def run(folder):
        six(folder)
        data = Pairs(str(folder), "*.color.png", "*.depth.png", train=4, augment=Augment(crop=crop))
        load_all(data, "fit")

    return Case("argument Augment", f"crop = {crop} of an image of 24 x 32", run, ("augment.crop", str(list(crop))))


def make3d(folder):
    write_image(folder / "Test134" / "img-a.jpg", picture(0))
    write_laser_grid(folder / "Gridlaserdata" / "depth_sph_corr-a.mat", 0)


def recording(folder):
    (folder / "2011_09_26" / "2011_09_26_drive_0002_sync" / "image_02").mkdir(parents=True)
    (folder / "d").mkdir()
    (folder / "blank.txt").write_text("\n\n")


def sync(folder):
    write_pair(folder / "sync" / "bedroom_1" / "rgb_1.jpg", folder / "sync" / "bedroom_1" / "sync_depth_1.png", 0)
    (folder / "d").mkdir()


CASES = [
    *(
        refuse(kind, make, argument, value, given)
        for kind, (make, given) in MODULES.items()
        for argument, values in {
            "loading": (4, None),
            "shots": (0, -3, 10**12, 1.5),
        }.items()
        for value in values
        if kind != "Photos" or argument != "shots"
    ),
    *(
        refuse("Loading", Loading, argument, value)
        for argument, values in {
            "batch_size": (0, -1, 10**12, 1.5, NAN),
            "num_workers": (-1, 10**12, INF),
            "on_error": ("ignore", None),
            "seed": (-1, 2**70),
        }.items()
        for value in values
    ),
    *(refuse("Shots", Shots, "count", value) for value in (0, -3, 10**12, NAN)),
    *(refuse("Shots", Shots, "seed", value, {"count": 1}) for value in (-1, 2**70)),
    *(
        refuse(kind, MODULES[kind][0], "root", v, MODULES[kind][1])
        for kind in ("KITTI", "Make3D", "NYU", "Pairs")
        for v in ("", " ", "\0", "~nobody_of_that_name/x")
    ),
    *(
        refuse(kind, MODULES[kind][0], "val_every", v)
        for kind in ("KITTI", "Make3D", "NYU")
        for v in (1, 0, -1, 10**12)
    ),
    *(refuse(kind, MODULES[kind][0], "layout", v) for kind in ("KITTI", "NYU") for v in ("", "sinc")),
    *(
        refuse(kind, MODULES[kind][0], f"{split}_list", "")
        for kind in ("KITTI", "NYU")
        for split in ("train", "val", "test")
    ),
    *(refuse("Pairs", Pairs, "scale", value, TABLE) for value in (0.0, -1.0, NAN, INF, -INF, 1e300, 1e-40)),
    *(refuse("NYU", NYU, "depth_scale", value) for value in (0.0, -1.0, NAN, INF, 1e300, 1e-40)),
    *(refuse("NYU", NYU, "depth_column", value) for value in (0, -1, 10**12)),
    refuse("NYU", NYU, "depth", "dense"),
    *(refuse("Pairs", Pairs, split, value, TABLE) for split in ("train", "val", "test") for value in (-1, 10**12)),
    *(refuse("Pairs", Pairs, "invalid", (value,), TABLE) for value in (NAN, INF)),
    refuse("Pairs", Pairs, "decode", "png", TABLE),
    *(refuse("Pairs", Pairs, "focal", value, TABLE) for value in (0.0, -585.0, NAN, INF, 1e300, True, "", "\0")),
    refuse("Pairs", Pairs, "table", ""),
    *(
        refuse("Pairs", Pairs, "image_pattern", p, {"depth_pattern": "*.png"})
        for p in ("", "a.png", "../*.png", "/x/*.png", "*/*.png")
    ),
    *(refuse("Rooms", Rooms, f"{s}_size", v) for s in ("train", "val", "test") for v in (0, -1, 10**12, NAN)),
    *(
        refuse("Rooms", Rooms, "fov", value)
        for value in (NAN, INF, -70.0, 0, 19.0, 121.0, "wide", (90, 50), (50,), (50, 180), (50, NAN), ("a", "b"), ())
    ),
    *(refuse("Photos", Photos, "fov", value, {"images": ["a.jpg"]}) for value in (NAN, INF, -70.0, 0.0, 180.0)),
    *(refuse("Rooms", Rooms, "rooms_seed", value) for value in (-1, 2**70)),
    *(refuse("Rooms", Rooms, f"{s}_types", v) for s in ("train", "test") for v in ([], ["cellar"], "room")),
    *(refuse("KITTI", KITTI, "truth", value) for value in ("", "lidar", "x.npy")),
    *(refuse("KITTI", KITTI, "annotated", value) for value in ("", "  ")),
    refuse("KITTI", KITTI, "velodyne_depth", "y"),
    *(refuse("Make3D", Make3D, argument, "") for argument in ("images", "depths")),
    refuse("Photos", Photos, "images", []),
    refuse("Photos", Photos, "images", "a.jpg"),
    *(
        refuse("Augment", Augment, argument, value)
        for argument, values in {
            "rotation": (NAN, INF, -1.0, 360.0),
            "mirror": (NAN, -0.1, 1.1, INF),
            "colour": (NAN, INF, -0.1, 7.0),
            "crop": ((0, 8), (8, -1), (8,), (10**12, 8)),
        }.items()
        for value in values
    ),
    augment((1000, 1000)),
    augment((24, 33)),
    *(pairs(split, 99) for split in ("val", "test")),
    pairs("train", 99, "fit"),
    pairs("shots", 9, "fit", train=4, val=1),
    pairs("depth_pattern", "nowhere/*.png"),
    pairs("image_pattern", "nowhere/*.png"),
    pairs("image_pattern", LONG + "*"),
    pairs("root", "nowhere"),
    pairs("focal", "nowhere.txt"),
    pairs("root", LONG),
    *(setup("KITTI", KITTI, argument, "nowhere", recording) for argument in ("root", "annotated")),
    *(setup("KITTI", KITTI, "test_list", value, recording) for value in ("nowhere", "d", "blank.txt", LONG)),
    setup("KITTI", KITTI, "truth", "nowhere.npz", recording),
    *(setup("NYU", NYU, "test_list", value, sync) for value in ("nowhere", "d", LONG)),
    *(setup("NYU", NYU, "root", value) for value in ("nowhere", LONG)),
    *(
        setup("Make3D", Make3D, argument, value, make3d)
        for argument in ("images", "depths")
        for value in ("/etc", "nowhere", "{x}")
    ),
    setup("Make3D", Make3D, "root", "nowhere"),
    *(photos(value, value) for value in ("nowhere.jpg", "nowhere/*.jpg", "none", "~nobody_of_that_name/x.jpg")),
    photos(LONG + ".jpg", "x.jpg"),
    photos("", "''"),
    Case("argument Photos", "images = ['model.yaml']", photos("model.yaml").run, ("image", "model.yaml")),
]
