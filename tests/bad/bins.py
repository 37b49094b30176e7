"""Bins out of their domain."""

from depthclip.head import Bins, LinearBins, LogBins
from tests.bad.judge import Case

NUMBERS = (float("nan"), float("inf"), -1.0, 0.0)


def refuse(kind, name, build, *names):
    return Case(f"argument {kind}", name, lambda folder: build() and None, names)


CASES = [
    *(refuse("Bins", f"values hold {x}", lambda x=x: Bins([1.0, x]), "bins", str(x)) for x in NUMBERS),
    *(
        refuse(make.__name__, f"max_depth {x}", lambda make=make, x=x: make(7, 1e-3, x), "max_depth", str(x))
        for make in (LinearBins, LogBins)
        for x in NUMBERS
    ),
]
