"""Which bins suit which type of scene? Score the paper's five bin sets separately for each type of scene."""

import sys

import numpy as np

from depthclip.evaluation.metrics import ERRORS
from depthclip.study import HeadSettings, Options, Results, Study, Variant, main

COLUMNS = ("delta1", "delta2", "delta3", "abs_rel", "log10", "rmse")
# arXiv 2207.01077, study of class-dependent bins, on NYU, in the order of COLUMNS
PUBLISHED: dict[str, dict[str, tuple[float, ...]]] = {
    "bathroom": {
        "depthclip": (0.333, 0.631, 0.814, 0.549, 0.175, 0.922),
        "cd1": (0.248, 0.490, 0.699, 0.754, 0.219, 1.237),
        "cd2": (0.236, 0.460, 0.675, 0.801, 0.229, 1.308),
        "cd3": (0.425, 0.723, 0.893, 0.373, 0.141, 0.745),
        "cd4": (0.129, 0.302, 0.535, 1.072, 0.287, 1.682),
    },
    "classroom": {
        "depthclip": (0.308, 0.533, 0.742, 0.372, 0.193, 1.826),
        "cd1": (0.312, 0.565, 0.820, 0.383, 0.179, 1.694),
        "cd2": (0.310, 0.583, 0.830, 0.397, 0.175, 1.636),
        "cd3": (0.231, 0.452, 0.600, 0.407, 0.246, 2.138),
        "cd4": (0.276, 0.637, 0.844, 0.461, 0.173, 1.544),
    },
    "all": {
        "depthclip": (0.394, 0.683, 0.851, 0.388, 0.156, 1.167),
        "cd1": (0.373, 0.653, 0.828, 0.467, 0.166, 1.228),
        "cd2": (0.366, 0.641, 0.819, 0.496, 0.170, 1.248),
        "cd3": (0.333, 0.621, 0.818, 0.353, 0.176, 1.290),
        "cd4": (0.288, 0.548, 0.752, 0.663, 0.201, 1.439),
    },
}


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return the recipe with each of the bin sets of the paper."""
    return [
        Variant(
            bins,
            {"model.head.bins": {"class_path": "depthclip.Bins", "init_args": {"values": bins}}},
            {} if options.quick else dict(zip(COLUMNS, figures, strict=True)),
        )
        for bins, figures in PUBLISHED["all"].items()
    ]


def by_scene(results: Results) -> str:
    """Return a table with the errors of each bin set by type of scene, with published rows below the measured rows."""
    lines = [
        "**Errors by scene** (bold: the bins with the best abs_rel)",
        "",
        f"| scene | images | bins | {' | '.join(COLUMNS)} |",
    ]
    lines.append("| --- | ---: | --- |" + " ---: |" * len(COLUMNS))
    rows = [row for row in results.rows if not row.baseline]
    scenes = np.array(rows[0].scored[0].scenes)
    for scene in sorted(set(scenes.tolist())):
        means = {row.name: np.nanmean(row.scored[0].errors[scenes == scene], 0) for row in rows}
        best = min(means, key=lambda name: means[name][ERRORS.index("abs_rel")])
        for name, mean in means.items():
            figures = [f"{mean[ERRORS.index(error)]:.3f}" for error in COLUMNS]
            shown = f"**{name}**" if name == best else name
            lines.append(f"| {scene} | {(scenes == scene).sum()} | {shown} | {' | '.join(figures)} |")
            if published := PUBLISHED.get(scene, {}).get(name):
                lines.append(
                    f"| {scene} | | {name} (published) | {' | '.join(f'{value:.3f}' for value in published)} |"
                )
    return "\n".join(lines)


STUDY = Study(
    name="scene_bins",
    question="Which bins suit which type of scene?",
    variants=variants,
    recipe="nyu_released",
    settings={"model.published": None},
    quick_settings={"data.test_size": 120, "model.head.prompts.words": "depthclip"},
    notes=by_scene,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
