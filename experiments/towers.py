"""Which image tower understands distance? Compare the towers of the recipes with the same sentences and bins."""

import sys
from typing import Any

from depthclip.study import HeadSettings, Options, Results, Row, Study, Variant, main
from experiments.zero_shot import KITTI, NYU

TOWERS = (
    "rn50",
    "vit_b16",
    "vit_l14_336",
    "convnext_l_320",
    "clipa_h14_336",
    "metaclip2_h14",
    "eva02_l14_336",
    "vitamin_l_336",
    "mobileclip2_b",
    "mobileclip2_s4",
    "siglip2",
    "siglip2_so400m",
    "pe_b16",
    "pe_l14_336",
    "tipsv2_l14",
)


def log_bins(nearest: float, farthest: float) -> dict[str, Any]:
    """Return the settings of bins in metres for the seven words."""
    arguments = {"count": 7, "min_depth": nearest, "max_depth": farthest}
    return {"model.head.bins": {"class_path": "depthclip.head.LogBins", "init_args": arguments}}


# changes of the head by file of configs/data: outdoors, the bins are those of model/kitti_log and model/make3d_log
SETS: dict[str, dict[str, Any]] = {
    "nyu": {},
    "nyu_eigen": {},
    "kitti": log_bins(2.0, 80.0),
    "make3d": log_bins(1.0, 70.0),
}
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "nyu": {"DepthCLIP, released code": NYU["released"]},
    "kitti": {"DepthCLIP, as MfH quotes it": KITTI["kitti_log"]},
}
RANDOM: dict[str, tuple[str, ...]] = {"ViT-S-16": ("tokens", "maskclip"), "convnext_tiny": ("tokens",)}
COLUMNS = ("abs_rel", "rmse", "log10", "delta1", "delta2", "delta3")


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return each tower on each data set; with --quick the bundled tower and towers with random weights."""
    if options.quick:
        return [Variant("tiny-rooms, attention_pool"), *random_towers()]
    sets = {options.data: {}} if options.data else SETS
    models = {options.model: {}} if options.model else {tower: {"model": f"model/{tower}"} for tower in TOWERS}
    return [
        Variant(
            f"{model} on {data}",
            {**chosen, **({} if options.data else {"data": f"data/{data}"}), **changes},
            on=data,
        )
        for data, changes in sets.items()
        for model, chosen in models.items()
    ]


def random_towers() -> list[Variant]:
    """Return towers with random weights, which need no download."""
    return [
        Variant(
            f"{name}, {readout} (random weights)",
            {
                "model.encoder.name": name,
                "model.encoder.pretrained": None,
                "model.encoder.readout": readout,
            },
        )
        for name, readouts in RANDOM.items()
        for readout in readouts
    ]


def by_data(results: Results) -> str:
    """Return one table for each data set, by abs_rel, with published rows below, and the cost of each pass."""
    cost = {name: run["seconds"] / max(1, run["images"]) for run in results.runs for name in run["variants"]}
    parts = []
    for rows in results.test_sets():
        data = rows[0].name.rpartition(" on ")[2] if " on " in rows[0].name else "Rooms"
        parts += [f"**{data}**", "", f"| tower | {' | '.join(COLUMNS)} | seconds an image |"]
        parts.append("| --- |" + " ---: |" * (len(COLUMNS) + 1))
        parts += [line(row, cost) for row in sorted(rows, key=lambda row: row.figures["abs_rel"].value)]
        for source, figures in PUBLISHED.get(data, {}).items():
            shown = [f"{figures[error]:.3f}" if error in figures else "" for error in COLUMNS]
            parts.append(f"| {source} (published) | {' | '.join(shown)} | |")
        parts.append("")
    parts.append("The seconds include the start of the process. The depth of towers with random weights means nothing.")
    return "\n".join(parts)


def line(row: Row, cost: dict[str, float]) -> str:
    """Return a row of the table of a data set."""
    figures = [f"{row.figures[error].value:.3f}" for error in COLUMNS]
    seconds = f"{cost[row.name]:.2f}" if row.name in cost else ""
    return f"| {row.name} | {' | '.join(figures)} | {seconds} |"


STUDY = Study(
    name="towers",
    question="Which image tower understands distance?",
    variants=variants,
    settings={"model.published": None},
    quick_settings={"data.test_size": 40},
    notes=by_data,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
