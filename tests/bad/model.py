"""Numbers of the head, the bins and the model out of their domain, and images that are none."""

from functools import cache

import numpy as np
import torch
from PIL import Image

from depthclip import DepthCLIP, FrozenCLIP
from depthclip.encoder import Crops, ImageFeatures
from depthclip.evaluation.conformal import Conformal
from depthclip.evaluation.uncertainty import Coverage, NegativeLogLikelihood, Sparsification
from depthclip.head import (
    Adapter,
    Bins,
    DepthHead,
    FittedBins,
    ImageBins,
    LearnedBins,
    LearnedTokens,
    LearnedWords,
    LinearBins,
    LogBins,
    Prompts,
    SceneBins,
)
from tests.bad.judge import Case

NAN, INF = float("nan"), float("inf")
SCALES = (NAN, INF, -INF, -1.0, 0.0, 1e-40, 1e30, 10**400, True, "1")
COUNTS = (-1, 0, 1.5, NAN, 10**9, 10**12, True, "7")


def head(**arguments):
    return DepthHead(Prompts("five"), LinearBins(5), **arguments)


def refuse(kind, name, build, *names):
    return Case(f"argument {kind}", name, lambda folder: build() and None, names)


def numbers(kind, argument, build, values):
    """One case for each value of an argument."""
    return [
        refuse(kind, f"{argument} {str(value)[:20]}", lambda value=value: build(value), argument, str(value)[:20])
        for value in values
    ]


@cache
def tiny():
    encoder = FrozenCLIP("tiny-rooms", "bundled", "attention_pool")
    return DepthCLIP(encoder, head(), max_side=64)


PHOTO = np.zeros((8, 8, 3), np.uint8)
IMAGES = {
    "float": np.zeros((8, 8, 3)),
    "NaN": np.full((8, 8, 3), NAN, np.float32),
    "grey": np.zeros((8, 8), np.uint8),
    "four channels": np.zeros((8, 8, 4), np.uint8),
    "channels first": np.zeros((3, 8, 8), np.uint8),
    "empty": np.zeros((0, 0, 3), np.uint8),
    "no width": np.zeros((8, 0, 3), np.uint8),
    "16 bits": np.zeros((8, 8, 3), np.uint16),
    "text": np.full((8, 8, 3), "a"),
    "objects": np.full((8, 8, 3), None),
    "batch": np.zeros((1, 8, 8, 3), np.uint8),
    "a trillion pixels": np.broadcast_to(np.uint8(0), (10**6, 10**6, 3)),
    "a tensor": torch.zeros(3, 8, 8),
    "None": None,
    "a list": [[1, 2, 3]],
    "a number": 7,
    "PIL of 32 bits": Image.new("I", (8, 8), 10**9),
    "PIL of floats": Image.new("F", (8, 8)),
    "PIL without pixels": Image.new("RGB", (0, 8)),
}


def with_nan(part):
    """The depth of NaN features, or of a head whose learned parameters are NaN."""
    model = tiny()
    features = torch.rand(1, model.encoder.text.dim, 2, 2)
    if part == "image features":
        features[0, 0, 0, 0] = NAN
    heads = {
        "words": DepthHead(LearnedWords(5), LinearBins(5)),
        "bins": DepthHead(Prompts("five"), LearnedBins(LinearBins(5, 1, 9))),
        "temperature": head(learn_temperature=True),
        "image features": head(assignment="hard"),
    }
    made = heads[part]
    made.prepare(model.encoder.text)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(NAN)
    return made(ImageFeatures(features), model.encoder.text)


class Named(Coverage):
    """A measure with the name of the coverage of conformal intervals."""

    def __init__(self):
        super().__init__([0.9])
        self.names = ("coverage",)


def two(**arguments):
    return SceneBins({"a": Bins(), "b": Bins()}, **arguments)


CASES = [
    *numbers("model", "temperature", lambda x: head(temperature=x), SCALES),
    *numbers("model", "logit_scale", lambda x: head(logit_scale=x), SCALES),
    *numbers("model", "smoothing", lambda x: head(smoothing=x), (NAN, INF, -INF, -1.0, 1e-40, 1e9, "1", None)),
    *numbers("model", "max_side", lambda x: DepthCLIP(tiny().encoder, head(), max_side=x), COUNTS),
    *numbers("model", "camera", lambda x: head(camera=x), SCALES),
    refuse("model", "assignment", lambda: head(assignment="harder"), "assignment", "harder"),
    *numbers("LinearBins", "count", lambda x: LinearBins(x), COUNTS),
    *numbers("LogBins", "count", lambda x: LogBins(x), COUNTS),
    *numbers("LinearBins", "min_depth", lambda x: LinearBins(7, x), (NAN, INF, -1.0, 0.0, 11.0, 1e-30)[:4]),
    *numbers("LogBins", "max_depth", lambda x: LogBins(7, 1.0, x), (NAN, INF, -1.0, 0.5, 1e30)),
    *numbers("FittedBins", "count", lambda x: FittedBins(x), COUNTS),
    *numbers("FittedBins", "max_depth", lambda x: FittedBins(max_depth=x), (NAN, INF, 0.0, 1e-3)),
    *numbers("LearnedBins", "max_depth", lambda x: LearnedBins(max_depth=x), (NAN, INF, 0.0, -1.0)),
    *numbers("LearnedBins", "min_depth", lambda x: LearnedBins(min_depth=x), (NAN, INF, 0.0, -1.0)),
    *numbers("ImageBins", "hidden", lambda x: ImageBins(hidden=x), COUNTS),
    *numbers("Adapter", "rank", lambda x: Adapter(x), COUNTS),
    refuse("Adapter", "rank beyond D", lambda: Adapter(4096).prepare(tiny().encoder.text), "rank 4096"),
    *numbers("LearnedWords", "count", lambda x: LearnedWords(x), COUNTS),
    *numbers("LearnedTokens", "tokens", lambda x: LearnedTokens(7, x), COUNTS),
    *numbers("LearnedTokens", "count", lambda x: LearnedTokens(x), COUNTS),
    *numbers("Crops", "patch", lambda x: Crops(patch=x), COUNTS),
    *numbers("Crops", "stride", lambda x: Crops(stride=x), COUNTS),
    *numbers("Crops", "batch", lambda x: Crops(batch=x), COUNTS),
    refuse("FittedBins", "how", lambda: FittedBins(how="median"), "how", "median"),
    refuse("SceneBins", "choice", lambda: two(choice="mean"), "choice", "mean"),
    refuse("SceneBins", "templates are text", lambda: two(templates="a {scene}"), "templates", "a {scene}"),
    refuse("SceneBins", "a template is a number", lambda: two(templates=[7]), "templates", "7"),
    refuse("SceneBins", "a blank scene", lambda: SceneBins({"": Bins(), "b": Bins()}), "scenes"),
    refuse(
        "SceneBins",
        "scenes of one feature",
        lambda: SceneBins({"bath_room": Bins(), "bath room": Bins()}).prepare(tiny().encoder.text),
        "scenes",
        "bath room",
    ),
    *numbers("Conformal", "level", lambda x: Conformal(x), (NAN, INF, -1.0, 0.0, 1.0, 90, "0.9", None)),
    *numbers("Conformal", "floor", lambda x: Conformal(floor=x), (NAN, INF, -1.0, 0.0, 100.0, "1")),
    refuse("Conformal", "unit", lambda: Conformal(unit="pixel"), "unit", "pixel"),
    refuse("Conformal", "score", lambda: Conformal(score="gaussian"), "score", "gaussian"),
    *numbers("NegativeLogLikelihood", "floor", lambda x: NegativeLogLikelihood(x), (NAN, INF, -1.0, 0.0, 1e3, "1")),
    *numbers("Sparsification", "steps", lambda x: Sparsification(steps=x), COUNTS),
    refuse("Sparsification", "an unknown error", lambda: Sparsification(["delta1"]), "errors", "delta1"),
    refuse("Sparsification", "no error", lambda: Sparsification([]), "errors", "[]"),
    refuse("Sparsification", "text", lambda: Sparsification("rmse"), "errors", "rmse"),
    *(
        refuse("Coverage", f"levels {levels}", lambda levels=levels: Coverage(levels), "levels", shown)
        for levels, shown in (([], "[]"), ([90], "90"), ([NAN], "nan"), ([0.5, 0.5], "0.5"), ("0.9", "0.9"))
    ),
    refuse("Coverage", "a number", lambda: Coverage(0.9), "levels", "0.9"),
    refuse(
        "measures",
        "a measure named as that of intervals",
        lambda: DepthCLIP(tiny().encoder, head(), errors=[Named()], intervals=Conformal()),
        "coverage",
    ),
    refuse("Bins", "values hold text", lambda: Bins(["near", "far"]), "bins", "near"),
    refuse("Bins", "values hold None", lambda: Bins([1, None]), "bins", "None"),
    refuse("Bins", "a number", lambda: Bins(7), "bins", "7"),
    refuse("Bins", "empty", lambda: Bins([]), "bins", "[]"),
    refuse("Bins", "a single one", lambda: Bins([1.0]), "bins", "1.0"),
    refuse("Bins", "equal as float32", lambda: Bins([1.0, 1.0 + 1e-12]), "bins", "ascend"),
    refuse("Bins", "a million", lambda: Bins(range(1, 10**6)), "bins", "at most 10000"),
    refuse("Bins", "a light year", lambda: Bins([1.0, 9.5e15]), "bins", "9500000000000000.0"),
    *(refuse("infer", name, lambda image=image: tiny().infer(image), "image") for name, image in IMAGES.items()),
    *(
        refuse("responses", name, lambda name=name: tiny().responses(IMAGES[name]), "image")
        for name in ("NaN", "empty", "PIL of 32 bits", "None")
    ),
    *numbers("infer", "fov", lambda x: tiny().infer(PHOTO, fov=x), (NAN, INF, -70.0, 0.0, 180.0, True, "70")),
    *numbers("infer", "focal", lambda x: tiny().infer(PHOTO, focal=x), (NAN, INF, -70.0, 0.0, 1e9, True, "70")),
    refuse("infer", "two focal lengths", lambda: tiny().infer(PHOTO, fov=70.0, focal=8.0), "fov 70.0", "focal 8.0"),
    *numbers("infer", "max_side", lambda x: tiny().infer(np.zeros((8, 8, 3), np.uint8), max_side=x), COUNTS),
    *(
        refuse("not finite", part, lambda part=part: with_nan(part), f"the {part}", "NaN")
        for part in ("words", "bins", "temperature", "image features")
    ),
]
