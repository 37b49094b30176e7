"""How well does each model of configs/model estimate depth on each data set of configs/data without training?"""

import sys

from depthclip.study import HeadSettings, Options, Study, Variant, main
from experiments.prompt_words import QUICK_READOUTS

# figures of the paper by file of configs/model
NYU: dict[str, dict[str, float]] = {
    "released": {"abs_rel": 0.388, "log10": 0.156, "rmse": 1.167, "delta1": 0.394, "delta2": 0.683, "delta3": 0.851},
    "rn50": {},
    "vit_b16": {},
    "siglip2": {},
}
# DepthCLIP on KITTI as quoted by MfH (NeurIPS 2024), which does not state bins and sentences
KITTI: dict[str, dict[str, float]] = {"kitti_log": {"abs_rel": 0.473, "rmse": 12.96, "delta1": 0.281}}
MAKE3D: dict[str, dict[str, float]] = {"make3d_log": {}}
# models by file of configs/data
SETS: dict[str, dict[str, dict[str, float]]] = {"nyu": NYU, "nyu_eigen": NYU, "kitti": KITTI, "make3d": MAKE3D}
QUICK_TYPES = ("small room", "corridor")


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return the models for each data set, or those of the command line; with --quick the bundled model."""
    if options.quick:
        return [
            Variant(f"{readout} on {kind}s", {"model.encoder.readout": reads, "data.test_types": [kind]}, on=f"{kind}s")
            for kind in QUICK_TYPES
            for readout, reads in QUICK_READOUTS.items()
        ]
    sets = {options.data: {"released": {}, "rn50": {}, "vit_b16": {}, "siglip2": {}}} if options.data else SETS
    result = []
    for data, models in sets.items():
        where = {} if options.data else {"data": f"data/{data}"}
        for model, published in {options.model: {}}.items() if options.model else models.items():
            chosen = {} if options.model else {"model": f"model/{model}"}
            # the figures were published for this protocol only
            quoted = published if data in ("nyu", "kitti") else {}
            result.append(Variant(f"{model} on {data}", {**chosen, **where}, quoted, on=data))
    return result


STUDY = Study(
    name="zero_shot",
    question="How well does each model estimate depth on each data set without training?",
    variants=variants,
    settings={"model.published": None},
    quick_settings={"data.test_size": 40},
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
