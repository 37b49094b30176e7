"""Views, scorings and bins out of their domain."""

from depthclip.head import LinearBins, LogBins
from depthclip.protocol import Scoring, View, scoring_of, spell_out, view_of
from tests.bad.judge import Case

NAN, INF = float("nan"), float("inf")
CROPS = (
    [0, 0, 0, 10],
    [5, 0, 5, 10],
    [10, 0, 5, 10],
    [0, 10, 5, 10],
    [0, 10, 5, 3],
    [-1, 0, 5, 10],
    [0, -7, 5, 10],
    [0.5, 0, 5, 10],
    [0, 0, NAN, 10],
    [0, 0, INF, 10],
    [0, 0, 10**12, 10],
    [0, 0, 5],
    [0, 0, 5, 10, 15],
    [],
    "nonsense",
    "",
    7,
)
SIDES = (0, -1, 1.5, NAN, INF, -INF, 10**12, 100_000, True, "wide")
SIZES = ([0, 0], [-1, 32], [32, 0], [100_000, 100_000], [32, NAN], [INF, 32], [32.5, 32], [32], [1, 2, 3], [], "", 32)
DEPTHS = (NAN, INF, -INF, -1.0, 1e12, "far", True)


def refuse(kind, argument, value, build):
    """A case: `build` refuses the value of an argument, naming both."""
    shown = value if isinstance(value, str) else repr(value)
    return Case(f"argument {kind}", f"{argument} {value}", lambda folder: build() and None, (argument, shown))


CASES = [
    *(refuse("View", "view.crop", x, lambda x=x: View(crop=x)) for x in CROPS),
    *(refuse("View", "view.size", x, lambda x=x: View(size=x)) for x in SIZES),
    *(refuse("View", "view.max_side", x, lambda x=x: View(max_side=x)) for x in SIDES),
    *(refuse("View", "view.window", x, lambda x=x: View(window=x)) for x in SIZES),
    *(refuse("View", "view.stride", x, lambda x=x: View(window=(64, 64), stride=x)) for x in (*SIZES, [65, 32])),
    *(refuse("View", "view.focal", x, lambda x=x: View(focal=x)) for x in (0, -1.0, NAN, INF, 1e12, "far", True)),
    refuse("View", "view.stride", [32, 32], lambda: View(stride=[32, 32])),
    refuse("View", "view.window", (9, 9), lambda: View(window=(9, 9), stride=(1, 1)).windows(999, 999)),
    *(refuse("Scoring", "scoring.crop", x, lambda x=x: Scoring(crop=x)) for x in CROPS),
    *(refuse("Scoring", "scoring.min_depth", x, lambda x=x: Scoring(min_depth=x)) for x in (*DEPTHS, None)),
    *(refuse("Scoring", "scoring.max_depth", x, lambda x=x: Scoring(max_depth=x)) for x in (*DEPTHS, 0, 1e-3)),
    *(
        refuse("Scoring", "scoring.clamp", x, lambda x=x: Scoring(clamp=x))
        for x in ([80, 1], [1, 1], [0, 80], [-1, 80], [NAN, 80], [1, INF], [1], [1, 2, 3], "wide", 5)
    ),
    *(refuse("Scoring", "scoring.crop_of", x, lambda x=x: Scoring(crop_of=x)) for x in ("image", "", 1, None)),
    *(refuse("Scoring", "scoring.alignment", x, lambda x=x: Scoring(alignment=x)) for x in ("mean", "", 1, None, True)),
    *(
        refuse("Scoring", "scoring.median_scaling", x, lambda x=x: spell_out({"scoring": {"median_scaling": x}}))
        for x in (True, False)
    ),
    *(refuse("Scoring", "scoring.resample", x, lambda x=x: Scoring(resample=x)) for x in ("bicubic", "", 1, None)),
    *(refuse("preset", "view", x, lambda x=x: view_of(x)) for x in ("nyu", "", 3, None, {}, [])),
    *(refuse("preset", "scoring", x, lambda x=x: scoring_of(x)) for x in ("kitti", "", 3, None, {}, [])),
    *(
        refuse(make.__name__, "count", x, lambda make=make, x=x: make(x))
        for make in (LinearBins, LogBins)
        for x in (0, 1, -3, 2.5, 10**12, NAN, True)
    ),
    *(
        refuse(make.__name__, "min_depth", x, lambda make=make, x=x: make(7, x, 10))
        for make in (LinearBins, LogBins)
        for x in (NAN, INF, -1.0, 0, "near")
    ),
    *(
        refuse(make.__name__, "max_depth", x, lambda make=make, x=x: make(7, 1, x))
        for make in (LinearBins, LogBins)
        for x in (NAN, INF, -1.0, 1, 0.5, 1e300)
    ),
    *(
        refuse(make.__name__, "placement", x, lambda make=make, x=x: make(7, placement=x))
        for make in (LinearBins, LogBins)
        for x in ("edges", "", None)
    ),
]
