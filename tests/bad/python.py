"""Models from recipes in Python, encoded photographs, and words that cannot be replaced."""

import os
from functools import cache

import numpy as np

from depthclip import Bins, DepthCLIP, DepthHead, FrozenCLIP, Prompts
from depthclip.head import FittedBins, LearnedBins, LearnedWords
from tests.bad.judge import Case

PHOTO = np.zeros((8, 8, 3), np.uint8)
NAN = float("nan")


def refuse(kind, name, build, *names):
    return Case(f"Python {kind}", name, lambda folder: build() and None, names)


@cache
def encoder():
    return FrozenCLIP("tiny-rooms", "bundled", "attention_pool")


def model(head=None):
    return DepthCLIP(encoder(), head or DepthHead(Prompts(["near", "far"]), Bins([1, 5])), max_side=64)


def override(name, value, *names):
    return refuse(
        "overrides", f"{name} {str(value)[:20]}", lambda: DepthCLIP.from_recipe("rooms", {name: value}), *names
    )


def file(name, content, *names):
    """One case for a recipe file of some content."""

    def run(folder):
        path = folder / "mine.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        DepthCLIP.from_recipe(path)

    return Case("Python recipe", name, run, names)


def made(name, make, *names):
    """One case for a path that is no file."""

    def run(folder):
        make(folder / "mine.yaml")
        DepthCLIP.from_recipe(folder / "mine.yaml")

    return Case("Python recipe", name, run, names)


def words(name, arguments, *names):
    return refuse("set_words", name, lambda: model().set_words(*arguments), *names)


def head(name, make, *names):
    return refuse("set_words", name, lambda: model(make()).set_words(["near", "far"], [1, 2]), *names)


ENCODER = "encoder: {name: tiny-rooms, pretrained: bundled}"
HEAD = "head: {prompts: {words: five}, bins: {values: [1, 2, 3, 4, 5]}}"

CASES = [
    *(
        refuse("from_recipe", f"recipe {name!r}", lambda name=name: DepthCLIP.from_recipe(name), str(name))
        for name in ("room", "model/rn", "data/nyu", "trainer/ddp", "sweeps/temperature", 7, None)
    ),
    refuse("from_recipe", "a null character", lambda: DepthCLIP.from_recipe("a\0b"), "recipe", "a\\x00b"),
    refuse("from_recipe", "a long name", lambda: DepthCLIP.from_recipe("x" * 5000), "recipe"),
    made("a folder", lambda path: path.mkdir(), "mine.yaml"),
    made("a pipe", os.mkfifo, "mine.yaml"),
    made("absent", lambda path: None, "mine.yaml"),
    made("a link that leads nowhere", lambda path: path.symlink_to("nowhere"), "mine.yaml"),
    file("empty", "", "mine.yaml"),
    file("not YAML", "model: [", "mine.yaml"),
    file("not UTF-8", b"model: \xff", "mine.yaml"),
    file("a text", "hello", "mine.yaml", "hello"),
    file("no model", "name: mine", "mine.yaml", "model"),
    file("model null", "model: null", "mine.yaml", "model"),
    file("model is a number", "model: 7", "mine.yaml", "7"),
    file("model is an absent file", "model: absent.yaml", "absent.yaml"),
    file("a list with a number", "model: [7]", "mine.yaml", "7"),
    file("no head", f"model: {{{ENCODER}}}", "mine.yaml", "head"),
    file("no encoder", f"model: {{{HEAD}}}", "mine.yaml", "encoder"),
    file("an unknown option", f"model: {{{ENCODER}, {HEAD}, variant: 1}}", "mine.yaml", "variant"),
    file("a function as class", f"model: {{{ENCODER}, head: {{class_path: os.system}}}}", "mine.yaml", "os.system"),
    file("a module to import", f"model: {{{ENCODER}, head: {{class_path: antigravity.fly}}}}", "antigravity"),
    override("model.head.temperature", NAN, "temperature", "nan"),
    override("model.head.temperature", -1, "temperature", "-1"),
    override("model.head.temperature", "hot", "temperature", "hot"),
    override("model.head.temperatur", 1, "temperatur", "temperature"),
    override("model.head.prompts.words", [], "words", "[]"),
    override("model.head.prompts.words", 7, "words", "7"),
    override("model.head.bins.values", [3, 2, 1], "bins", "[3.0, 2.0, 1.0]"),
    override("model.panels", np.zeros(3), "model.panels", "array"),
    override("model.panels", {1, 2}, "model.panels", "{1, 2}"),
    override("model.head", {"class_path": "antigravity.fly"}, "antigravity"),
    override("model.head.calibrated", True, "rooms", "model.head.calibrated"),
    override("data.test_size", 2, "data.test_size", "model.head.temperature"),
    override("model", {}, "'model'", "model.head.temperature"),
    override("", 1, "''"),
    override(7, 1, "7"),
    override("model.head.temperature=0.2 --model.max_side", 1, "overrides"),
    *(
        refuse("overrides", name, lambda value=value: DepthCLIP.from_recipe("rooms", value), "overrides", shown)
        for name, value, shown in (("a list", ["a=1"], "a=1"), ("a text", "a=1", "a=1"), ("a number", 7, "7"))
    ),
    refuse("from_recipe", "no checkpoint", lambda: DepthCLIP.from_recipe("rooms", checkpoint="absent.ckpt"), "absent"),
    words("a single word", (["near"], [1]), "words", "near"),
    words("equal words", (["near", "near"], [1, 2]), "words", "near"),
    words("a word less than bins", (["near", "far"], [1, 2, 3]), "2 words", "3 bins"),
    words("an unknown set", ("fives", [1, 2]), "words", "fives"),
    words("bins that descend", (["near", "far"], [2, 1]), "bins", "[2.0, 1.0]"),
    words("bins of text", (["near", "far"], "near"), "bins", "near"),
    words("a template as text", (["near", "far"], [1, 2], "{distance}"), "templates", "{distance}"),
    words("a template without a field", (["near", "far"], [1, 2], ["far"]), "template", "far"),
    *(words(f"temperature {x}", (["near", "far"], [1, 2], None, x), "temperature", str(x)) for x in (NAN, 0, -1, "1")),
    head("learned words", lambda: DepthHead(LearnedWords(2), Bins([1, 2])), "LearnedWords"),
    head("learned bins", lambda: DepthHead(Prompts(["near", "far"]), LearnedBins(Bins([1, 2]))), "LearnedBins"),
    head("fitted bins", lambda: DepthHead(Prompts(["near", "far"]), FittedBins(2)), "FittedBins"),
    head("calibrated", lambda: DepthHead(Prompts(["near", "far"]), Bins([1, 2]), calibrated=True), "calibrated"),
    *(
        refuse(
            "encoded photograph",
            f"{name} again",
            lambda name=name, value=value: model().infer(model().encode_photo(PHOTO), **{name: value}),
            name,
            str(value),
        )
        for name, value in (("max_side", 32), ("mirror", True), ("window", (4, 4)), ("stride", (2, 2)))
    ),
    refuse(
        "encoded photograph",
        "of another encoder",
        lambda: model().infer(DepthCLIP.from_recipe("rooms").encode_photo(PHOTO)),
        "encoder",
        "encode_photo",
    ),
    *(
        refuse(
            "encoded photograph",
            f"max_side {side!r}",
            lambda side=side: model().encode_photo(PHOTO, max_side=side),
            "max_side",
            "1 to 16384",
        )
        for side in (-1, 20_000, np.int64(-1), np.float32(64))
    ),
    refuse("model", "max_side 20000", lambda: DepthCLIP(encoder(), model().head, max_side=20_000), "20000", "16384"),
    refuse("encoded photograph", "max_side 0", lambda: model().encode_photo(PHOTO, max_side=0), "max_side", "0"),
]
