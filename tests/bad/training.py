"""Training arguments and losses out of their domain."""

from types import SimpleNamespace

import torch

from depthclip.evaluation import BoundaryF1, DepthRanges, NormalErrors
from depthclip.evaluation.baselines import Baseline, check_baselines
from depthclip.evaluation.measures import ErrorMeasure, ScoredImage, check_measures, measured
from depthclip.evaluation.metrics import ERRORS
from depthclip.losses import BinCrossEntropy, LossInput, SILog
from depthclip.module import DepthCLIP
from depthclip.optimization import Optimization, training_steps
from depthclip.ordinal_loss import EarthMover
from tests.bad.judge import Case

NAN, INF = float("nan"), float("inf")


def refuse(kind, name, build, *names):
    return Case(f"argument {kind}", name, lambda folder: build() and None, names)


def model(**settings):
    """Build a model with bad arguments; they are refused before the encoder or the head is touched."""
    return DepthCLIP(None, None, **settings)


def no_logits(loss):
    depth = torch.ones(2, 2)
    return loss()([LossInput(depth, depth, depth > 0)])


def measure(name):
    return type("Measure", (ErrorMeasure,), {"name": name})()


def baseline(name):
    return type("Rival", (Baseline,), {"name": name})()


class WrongShape(ErrorMeasure):
    """A measure that forgets that there are several predictions."""

    name = "wrong shape"

    def __call__(self, prediction, target):
        return (prediction - target).abs().mean()


CASES = [
    *(
        refuse("DepthCLIP", f"learning_rate {x!r}", lambda x=x: model(learning_rate=x), "learning_rate", repr(x))
        for x in (0, 0.0, -1.0, -1e-30, NAN, INF, -INF, 1e38, True, "1e-3")
    ),
    *(
        refuse("DepthCLIP", f"weight_decay {x!r}", lambda x=x: model(weight_decay=x), "weight_decay", repr(x))
        for x in (-1.0, -1e-9, NAN, INF, -INF, 1e38, None)
    ),
    *(
        refuse("DepthCLIP", f"training_images {x!r}", lambda x=x: model(training_images=x), "training_images", repr(x))
        for x in (0, -1, -500, 1.5, NAN, 10**12, True)
    ),
    *(refuse("DepthCLIP", f"cache {x!r}", lambda x=x: model(cache=x), "cache", repr(x)) for x in ("", " ", "\t")),
    *(
        refuse("Optimization", f"{key} {x!r}", lambda key=key, x=x: Optimization(**{key: x}), key, repr(x))
        for key in ("div_factor", "final_div_factor")
        for x in (0, -1.0, NAN, INF)
    ),
    refuse(
        "Trainer",
        "no end",
        lambda: training_steps(SimpleNamespace(estimated_stepping_batches=INF, max_epochs=-1)),
        "max_epochs",
        "-1",
    ),
    *(
        refuse("SILog", f"scale {x!r}", lambda x=x: SILog(scale=x), "scale", repr(x))
        for x in (0, 0.0, -1.0, NAN, INF, -INF)
    ),
    *(
        refuse("SILog", f"variance_focus {x!r}", lambda x=x: SILog(variance_focus=x), "variance_focus", repr(x))
        for x in (-0.1, 1.0001, 85, NAN, INF, -INF)
    ),
    *(
        refuse(loss.__name__, f"{key} {x!r}", lambda loss=loss, key=key, x=x: loss(**{key: x}), key, repr(x))
        for loss in (BinCrossEntropy, EarthMover)
        for key in ("target", "at")
        for x in ("", "nonsense", None, 3)
    ),
    *(
        refuse(
            loss.__name__, "a head without logits", lambda loss=loss: no_logits(loss), loss.__name__, "logits", "SILog"
        )
        for loss in (BinCrossEntropy, EarthMover)
    ),
    *(
        refuse("errors", f"name {x!r}", lambda x=x: check_measures([measure(x)], ERRORS), "errors", repr(x))
        for x in ("", " ", "a/b", "a\nb", 3, None, "abs_rel", "delta1")
    ),
    refuse("errors", "no name", lambda: check_measures([ErrorMeasure()], ERRORS), "errors", "ErrorMeasure", "None"),
    refuse("errors", "a name twice", lambda: check_measures([measure("a"), measure("a")], ERRORS), "errors", "'a'"),
    refuse(
        "errors",
        "shape",
        lambda: measured([WrongShape()], ScoredImage(torch.ones(2, 3), torch.ones(3), torch.ones(1, 3) > 0)),
        "wrong shape",
        "()",
    ),
    *(
        refuse("DepthRanges", f"edges {x!r}", lambda x=x: DepthRanges(edges=x), "edges", *map(repr, x[-1:]))
        for x in ((), (2.0,), (2.0, 1.0), (1.0, 1.0), (-1.0,), (0.0, NAN), (0.0, INF), (0.0, 1e9), "9")
    ),
    *(
        refuse("DepthRanges", f"errors {x!r}", lambda x=x: DepthRanges(errors=x), "errors", *(repr(v) for v in x[-1:]))
        for x in ((), ("abs_rel", "abs_rel"), ("delta4",), (3,), "r")
    ),
    *(
        refuse("BoundaryF1", f"radii {x!r}", lambda x=x: BoundaryF1(radii=x), "radii", *(repr(v) for v in x[-1:]))
        for x in ((), (1, 1), (0,), (-1,), (1.5,), (10**12,), "3")
    ),
    *(
        refuse("NormalErrors", f"radius {x!r}", lambda x=x: NormalErrors(radius=x), "radius", repr(x))
        for x in (0, -1, 1.5, NAN, 10**12, True, "3")
    ),
    *(
        refuse("baselines", f"name {x!r}", lambda x=x: check_baselines([baseline(x)], ["head"]), "baselines", repr(x))
        for x in ("", " ", "a\nb", 3, None, "head", "random", "training constant")
    ),
    refuse("baselines", "a name twice", lambda: check_baselines([baseline("a")] * 2, []), "baselines", "'a'"),
]
