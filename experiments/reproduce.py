"""Does it reproduce? The paper's NYU row, measured with OpenAI's weights; with --quick the model card of tiny-rooms."""

import sys

from depthclip.evaluation.metrics import ERRORS
from depthclip.study import HeadSettings, Options, Results, Study, Variant, main

TOLERANCE = 0.02  # relative; an independent reproduction (AdaDepthCLIP) is within 1.3 %
WEIGHTS = "https://openaipublic.azureedge.net/clip/models/afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762/RN50.pt"
NEEDS = f"""What this study needs, and where:

1. Data: nyu_depth_v2_labeled.mat (2.8 GB) from http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/, put at
   data/nyu/nyu_depth_v2_labeled.mat; the list of the 654 test images comes with the package. BTS'
   folder official_splits in data/nyu does as well. Elsewhere: --set data.root=FOLDER.
2. Weights: open_clip downloads OpenAI's RN50 by itself. Without network, fetch
   {WEIGHTS}
   elsewhere and name it: --set model.encoder.pretrained=RN50.pt"""


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return the recipe as it is."""
    return [Variant("measured")]


def verdict(found: Results) -> str:
    """Return each figure beside the first published one, and whether its deviation is within the tolerance."""
    if not found.published:
        return "The recipe quotes no published figures to compare with (model.published)."
    source, published = next(iter(found.published.items()))
    lines = [
        f"**Measured beside: {source}**",
        "",
        "| figure | measured | published | deviation | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    passed = True
    for error in (error for error in ERRORS if error in published):
        measured, wanted = found.rows[0].figures[error].value, published[error]
        deviation = measured / wanted - 1
        close = abs(deviation) <= TOLERANCE
        passed = passed and close
        lines.append(f"| {error} | {measured:.3f} | {wanted:.3f} | {deviation:+.1%} | {'pass' if close else 'FAIL'} |")
    return "\n".join(
        [*lines, "", f"**{'PASS' if passed else 'FAIL'}**: within {TOLERANCE:.0%} of each figure, or not."]
    )


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
