"""Does the recipe reproduce its published figures? The paper's for NYU, or with --quick those of the model card."""

import sys

from depthclip.evaluation.metrics import ERRORS
from depthclip.study import HeadSettings, Options, Results, Study, Variant, main

TOLERANCE = 0.02  # relative; an independent reproduction (AdaDepthCLIP) deviates by at most 1.3 %
WEIGHTS = "https://openaipublic.azureedge.net/clip/models/afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762/RN50.pt"
NEEDS = f"""This study needs:

1. Data: fetch nyu_depth_v2_labeled.mat (2.8 GB) from http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/ to
   data/nyu/nyu_depth_v2_labeled.mat, or copy the folder official_splits of BTS to data/nyu. The list of the 654 test
   images comes with the package. For another folder, use --set data.root=FOLDER.
2. Weights: open_clip downloads OpenAI's RN50. Without network, fetch
   {WEIGHTS}
   on another machine and use --set model.encoder.pretrained=RN50.pt"""


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return the unchanged recipe."""
    return [Variant("measured")]


def verdict(results: Results) -> str:
    """Return a table of measured figures and those of the first published row, with a verdict on the deviations."""
    if not results.published:
        return "The recipe quotes no published figures to compare with (model.published)."
    source, published = next(iter(results.published.items()))
    lines = [
        f"**Comparison with: {source}**",
        "",
        "| figure | measured | published | deviation | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    passed = True
    for error in (error for error in ERRORS if error in published):
        measured, target = results.rows[0].figures[error].value, published[error]
        deviation = measured / target - 1
        close = abs(deviation) <= TOLERANCE
        passed = passed and close
        lines.append(f"| {error} | {measured:.3f} | {target:.3f} | {deviation:+.1%} | {'pass' if close else 'FAIL'} |")
    outcome = "PASS**: all figures are" if passed else "FAIL**: some figures are not"
    return "\n".join([*lines, "", f"**{outcome} within {TOLERANCE:.0%} of the published figures."])


STUDY = Study(
    name="reproduce",
    question="Does the recipe reproduce its published figures?",
    variants=variants,
    recipe="nyu_released",
    notes=verdict,
    needs=NEEDS,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
