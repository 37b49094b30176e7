"""Which distance words and sentences give the best depth? Compare word sets and ensembles under two readouts."""

import sys
from typing import Any

from depthclip.study import HeadSettings, Options, Study, Variant, main

# arXiv 2207.01077, study of prompts, on NYU
PUBLISHED: dict[str, dict[str, float]] = {
    "depthclip": {"delta1": 0.394, "delta2": 0.683, "delta3": 0.851, "abs_rel": 0.388, "log10": 0.156, "rmse": 1.167},
    "depthclip1": {"delta1": 0.341, "delta2": 0.623, "delta3": 0.816, "abs_rel": 0.379, "log10": 0.175, "rmse": 1.274},
    "depthclip2": {"delta1": 0.377, "delta2": 0.667, "delta3": 0.845, "abs_rel": 0.385, "log10": 0.161, "rmse": 1.196},
    "depthclip3": {"delta1": 0.380, "delta2": 0.670, "delta3": 0.846, "abs_rel": 0.375, "log10": 0.160, "rmse": 1.196},
}
SETS = (*PUBLISHED, "five")
FIVE = [1.0, 1.75, 2.25, 2.625, 3.0]  # the paper's seven bins, thinned to five
# meanings of the words for tiny-rooms in metres (depthclip/encoder/bundled/MODEL_CARD.md)
QUICK_BINS = {
    "depthclip": [0.85, 1.05, 1.55, 2.2, 3.0, 4.5, 8.0],
    "depthclip1": [1.05, 1.55, 2.5, 3.5, 4.5, 5.4, 8.0],
    "depthclip2": [1.05, 1.25, 1.55, 1.9, 3.5, 4.5, 8.0],
    "depthclip3": [0.85, 1.55, 1.9, 2.2, 3.1, 4.5, 8.0],
    "five": [1.25, 1.55, 2.5, 4.5, 6.5],
}
TEMPLATES = ["This {object} is {distance}", "The {object} is {distance}", "A photo of a {object} that is {distance}"]
OBJECTS = ["object", "wall", "floor", "table", "chair", "door"]
# readouts of the authors' code and of the paper's text
READOUTS = {"released": "released", "attention_pool": "attention_pool"}
# tiny-rooms was trained with crops of 128 pixels
QUICK_READOUTS: dict[str, Any] = {
    "attention_pool": "attention_pool",
    "crops": {"class_path": "depthclip.encoder.Crops", "init_args": {"patch": 128}},
}


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return for each readout all word sets, then ensembles of templates and objects with the paper's words."""
    paper = {words: FIVE if words == "five" else "depthclip" for words in SETS}
    bins = QUICK_BINS if options.quick else paper
    ensembles: dict[str, dict[str, Any]] = {
        "three templates": {"templates": TEMPLATES},
        "six objects": {"objects": OBJECTS},
        "three templates, six objects": {"templates": TEMPLATES, "objects": OBJECTS},
        "words centred": {"centred": True},
    }
    chosen: list[tuple[str, str, dict[str, Any]]] = [(words, words, {}) for words in SETS]
    chosen += [(f"{SETS[0]}, {name}", SETS[0], change) for name, change in ensembles.items()]
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
        for name, words, change in chosen
    ]


STUDY = Study(
    name="prompt_words",
    question="Which distance words and sentences give the best depth?",
    variants=variants,
    recipe="nyu_released",
    settings={
        "model.published": None,
        "model.head.prompts.templates": TEMPLATES[:1],
        "model.head.prompts.objects": ["object"],
    },
    quick_settings={"data.test_size": 60},
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
