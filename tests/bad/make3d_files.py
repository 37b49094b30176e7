"""Files of Make3D that are harmed or of the wrong kind."""

import numpy as np
from scipy.io import savemat

from depthclip.data import Loading, Make3D
from tests.bad.judge import Case
from tests.harm import ALL, BROKEN, SPECIAL, read_all
from tests.layouts import picture, write_image, write_laser_grid

MAT = "depth_sph_corr-b.mat"
MISSING = ("gone", *SPECIAL)  # in a partial copy, which warns


def write(folder):
    for seed, name in enumerate("abc"):
        write_image(folder / "Test134" / f"img-{name}.jpg", picture(seed, 64, 48))
        write_laser_grid(folder / "Gridlaserdata" / f"depth_sph_corr-{name}.mat", seed)


def case(name, harm, expect, *names):
    def run(folder):
        write(folder)
        harm(folder)
        read_all(Make3D(str(folder), allow_partial=True))

    return Case("files make3d", name, run, names, expect)


def skipped(name, harm):
    def run(folder):
        write(folder)
        harm(folder)
        data = Make3D(str(folder), allow_partial=True, loading=Loading(on_error="skip"), view="whole")
        data.setup("test")
        assert len([item for batch in data.test_dataloader() for item in batch.items]) == 2

    return Case("files make3d", f"{name} (skipped)", run, ("b",), "warning")


def grid(name, **content):
    def harm(folder):
        savemat(folder / "Gridlaserdata" / MAT, content)

    return [
        case(f"grid mat: {name}", harm, "refused", MAT),
        skipped(f"grid mat: {name}", harm),
    ]


def on_grid(harm):
    return lambda folder: harm(folder / "Gridlaserdata" / MAT)


def on_image(harm):
    return lambda folder: harm(folder / "Test134" / "img-b.jpg")


def refusal(name, harm, *names):
    """A copy that must be complete."""

    def run(folder):
        write(folder)
        harm(folder)
        read_all(Make3D(str(folder)))

    return Case("files make3d", name, run, names)


CELLS = np.empty((55, 305), object)
CELLS[:] = 1.5
CASES = [
    *(case(f"grid mat: {name}", on_grid(ALL[name]), "warning", "b") for name in MISSING),
    *(case(f"image: {name}", on_image(ALL[name]), "warning", "b") for name in MISSING),
    *(case(f"grid mat: {name}", on_grid(harm), "refused", MAT) for name, harm in BROKEN.items()),
    *(case(f"image: {name}", on_image(harm), "refused", "img-b.jpg") for name, harm in BROKEN.items()),
    *(skipped(f"grid mat: {name}", on_grid(harm)) for name, harm in ALL.items()),
    *(skipped(f"image: {name}", on_image(harm)) for name, harm in ALL.items()),
    *(refusal(f"grid mat of a complete copy: {name}", on_grid(ALL[name]), "-b") for name in MISSING),
    *grid("no grid", other=np.ones(3)),
    *grid("empty matrix", Position3DGrid=np.zeros((0, 0))),
    *grid("no rows", Position3DGrid=np.zeros((0, 305, 4))),
    *grid("one dimension less", Position3DGrid=np.ones((55, 305))),
    *grid("three channels", Position3DGrid=np.ones((55, 305, 3))),
    *grid("one number", Position3DGrid=3.0),
    *grid("cells", Position3DGrid=CELLS),
    *grid("cells of four", Position3DGrid=np.full((5, 6, 4), "x", object)),
    *grid("complex", Position3DGrid=np.ones((55, 305, 4)) * 1j),
    *grid("text", Position3DGrid="depth"),
    *grid("a struct", Position3DGrid={"depth": np.ones((55, 305, 4))}),
    *grid("8 bits", Position3DGrid=np.ones((55, 305, 4), np.uint8)),
]
