"""How many training images do learned words and bins need? Train on 1 to 16 images with three seeds, and on all."""

import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthclip.study import (
    HEADLINE,
    HeadSettings,
    Options,
    Results,
    Study,
    Variant,
    header,
    main,
    save_figure,
    spans,
)
from experiments.prompt_learning import BOTH, MAP, heads, start_of

SHOTS = (1, 2, 4, 8, 16)
SEEDS = (0, 1, 2)
ALL = "all training images"


def row_of(shots: int | None) -> str:
    """Return the name of the row of a number of shots."""
    return ALL if shots is None else f"{shots} image{'s' if shots > 1 else ''}"


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return zero-shot, then each number of images with each seed; the seed selects the images and initial words."""
    start = start_of(options)
    prompts, bins = heads(head, start, ("room", "hall"))[BOTH]
    result = [Variant("zero-shot", start, on=ALL)]
    learned: dict[str, Any] = {
        **start,
        "model.head.prompts": prompts,
        "model.head.bins": bins,
        "model.cache": str(options.out / "features"),
        "trainer.limit_val_batches": 0,
    }
    for shots in (*SHOTS, None):
        for seed in SEEDS if shots else SEEDS[:1]:
            few = {"count": shots, "seed": seed} if shots else None
            chosen = {"data.shots": few, "data.loading.seed": seed, "seed_everything": seed}
            name = f"{row_of(shots)}, seed {seed}"
            result.append(Variant(name, {**learned, **chosen}, row=row_of(shots), learn=True))
    return result


def draw_shots(results: Results, path: Path) -> None:
    """Draw the errors of learned words and bins and of the median map as functions of the number of images."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axis, error in zip(figure.subplots(1, 2), HEADLINE, strict=True):
        draw_curve(axis, results, "", error, "words and bins learned", "tab:blue")
        draw_curve(axis, results, f"{MAP}, ", error, "median map of the same images", "tab:cyan")
        for name, colour in (("zero-shot", "0.4"), (ALL, "tab:blue"), (f"{MAP}, {ALL}", "tab:cyan")):
            if (row := results.find(name)) is not None:
                axis.axhline(row.figures[error].value, color=colour, ls="--", lw=1, label=name)
        for name, best in results.oracle.items():
            axis.axhline(best[error], color="tab:orange", ls=":", lw=1, label=name)
        axis.set_xscale("log", base=2)
        axis.set_xlim(SHOTS[0] / 1.2, SHOTS[-1] * 1.2)
        axis.set_xticks(SHOTS, [str(shots) for shots in SHOTS])
        axis.set_xlabel("training images")
        axis.set_ylabel(header(error))
        axis.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    figure.suptitle(f"{len(SEEDS)} seeds; 95 % intervals over {results.unit} and seeds", fontsize=10)
    save_figure(figure, path)


def draw_curve(axis: Axes, results: Results, prefix: str, error: str, label: str, colour: str) -> None:
    """Draw the scored rows over the number of shots, with their intervals."""
    rows = {shots: row for shots in SHOTS if (row := results.find(f"{prefix}{row_of(shots)}")) is not None}
    values, reaches = spans(list(rows.values()), error)
    axis.errorbar(list(rows), values, yerr=reaches, fmt="o-", ms=4, capsize=2, label=label, color=colour)


STUDY = Study(
    name="few_shot",
    question="How many training images do learned words and bins need?",
    variants=variants,
    settings={
        "model.published": None,
        "model.training_baselines": True,
        "model.learning_rate": 0.05,
        "model.weight_decay": 0.0,
        "trainer.max_epochs": None,
        "trainer.max_steps": 200,
    },
    quick_settings={"data.train_size": 64, "data.test_size": 60},
    draw=draw_shots,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
