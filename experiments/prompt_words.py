"""Which words? The paper's four sets, five plain ones, and ensembles of templates and objects, under two readouts."""

import sys
from typing import Any

from depthclip.head.bins import bins_of
from depthclip.head.prompts import words_of
from experiments.choose_rooms import metres
from experiments.study import Head, Options, Study, Variant, main

# arXiv 2207.01077, study of prompts, on NYU
PUBLISHED: dict[str, dict[str, float]] = {
    "depthclip": {"delta1": 0.394, "delta2": 0.683, "delta3": 0.851, "abs_rel": 0.388, "log10": 0.156, "rmse": 1.167},
    "depthclip1": {"delta1": 0.341, "delta2": 0.623, "delta3": 0.816, "abs_rel": 0.379, "log10": 0.175, "rmse": 1.274},
    "depthclip2": {"delta1": 0.377, "delta2": 0.667, "delta3": 0.845, "abs_rel": 0.385, "log10": 0.161, "rmse": 1.196},
    "depthclip3": {"delta1": 0.380, "delta2": 0.670, "delta3": 0.846, "abs_rel": 0.375, "log10": 0.160, "rmse": 1.196},
}
SETS = (*PUBLISHED, "five")
FIVE = [1.0, 1.75, 2.25, 2.625, 3.0]  # the paper's seven bins, thinned to five
TEMPLATES = ["This {object} is {distance}", "The {object} is {distance}", "A photo of a {object} that is {distance}"]
OBJECTS = ["object", "wall", "floor", "table", "chair", "door"]
# what the authors' code does, and the paper's text
READOUTS = {"released": "released", "attention_pool": "attention_pool"}
# by name: tiny-rooms knows crops of 128 pixels
QUICK_READOUTS: dict[str, Any] = {
    "attention_pool": "attention_pool",
    "crops": {"class_path": "depthclip.encoder.Crops", "init_args": {"patch": 128}},
}


def variants(options: Options, head: Head) -> list[Variant]:
    """Words, then templates and objects for the paper's words, under each readout."""
    bins = {
        words: bins_for(words, head) if options.quick else FIVE if words == "five" else "depthclip" for words in SETS
    }
    ensembles: dict[str, dict[str, Any]] = {
        "three templates": {"templates": TEMPLATES},
        "six objects": {"objects": OBJECTS},
        "three templates, six objects": {"templates": TEMPLATES, "objects": OBJECTS},
        "words centred": {"centred": True},
    }
    asked: list[tuple[str, str, dict[str, Any]]] = [(words, words, {}) for words in SETS]
    asked += [(f"{SETS[0]}, {name}", SETS[0], change) for name, change in ensembles.items()]
    return [
        Variant(
            f"{readout}: {name}",
            {
                "model.encoder.readout": reads,
                "model.head.bins.values": bins[words],
                **{f"model.head.prompts.{key}": value for key, value in {"words": words, **change}.items()},
            },
            PUBLISHED.get(name, {}) if readout == "released" else {},
        )
        for readout, reads in (QUICK_READOUTS if options.quick else READOUTS).items()
        for name, words, change in asked
    ]


def bins_for(words: str, head: Head) -> list[float]:
    """What words mean in the captions that tiny-rooms has read, in metres, scaled as the recipe scales its own."""
    own, asked = bins_of(head["bins"]["init_args"]["values"]), words_of(head["prompts"]["init_args"]["words"])
    scale = own[-1] / metres(asked)[-1]
    return [round(scale * depth, 3) for depth in metres(words_of(words))]


STUDY = Study(
    name="prompt_words",
    question="Which distance words and sentences give the best depth?",
    variants=variants,
    recipe="configs/nyu_released.yaml",
    settings={
        "model.published": None,
        "model.head.prompts.templates": TEMPLATES[:1],
        "model.head.prompts.objects": ["object"],
    },
    quick_settings={"data.test_size": 60},
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
