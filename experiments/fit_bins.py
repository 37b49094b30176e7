"""Do bins fitted to the depths of the training set give better depth? Compare them with fixed bins."""

import sys
from typing import Any

from depthclip.head.bins import bins_of
from depthclip.study import HeadSettings, Options, Study, Variant, main

NEAR, FAR = 0.5, 10.0


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return the bins of the recipe, bins with equal steps or ratios, and three fits, all with the same count."""
    count = len(bins_of(head["bins"]["init_args"]["values"]))
    bins: dict[str, Any] = {"the recipe's bins": head["bins"]}
    for name, steps in (("LinearBins", "equal steps"), ("LogBins", "equal ratios")):
        reach = {"count": count, "min_depth": NEAR, "max_depth": FAR}
        bins[f"{steps}, {NEAR:g} to {FAR:g} m"] = {"class_path": f"depthclip.head.{name}", "init_args": reach}
    for how in ("quantiles", "kmeans", "log"):
        fitted = {"count": count, "how": how}
        bins[f"fitted: {how}"] = {"class_path": "depthclip.head.FittedBins", "init_args": fitted}
    return [Variant(name, {"model.head.bins": value}) for name, value in bins.items()]


STUDY = Study(
    name="fit_bins",
    question="Do bins fitted to the depths of the training set give better depth?",
    variants=variants,
    settings={"model.published": None, "model.training_baselines": True},
    quick_settings={"data.test_size": 100},
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
