"""Do metres hold through another lens? Score rooms at three fields of view with bins that were chosen at 70 degrees."""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from depthclip.camera import focal_length
from depthclip.data.rooms import HEIGHT, WIDTH
from depthclip.study import HeadSettings, Options, Results, Study, Variant, main
from depthclip.study.pictures import save_figure, spans

CHOSEN_AT, OTHERS = 70, (50, 90)  # degrees across the width
AT_70 = focal_length(WIDTH, CHOSEN_AT)  # in pixels of an image 320 pixels wide
# focal length of the training images in pixels, and temperature of the recipe; `lenses` saw several lenses in training
TOWERS = {"lenses": (1.5 * AT_70, 1.0), "bundled": (AT_70, 0.35)}
STAND, SCALED, RESIZED = "metres as they stand", "metres * focal / camera", "images resized to camera"
ALLOWED = 0.15  # of abs_rel at 70 degrees


def name_of(fov: int, how: str, tower: str) -> str:
    """Return the name of a row."""
    return f"{tower}, {fov} degrees: {how}"


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return each tower at each field of view: without a camera, with one, and with images resized to its focal length.

    Without resizing, all images have the size of those at 70 degrees.
    """
    chosen = []
    for tower, (camera, temperature) in TOWERS.items():
        size = [round(HEIGHT * camera / AT_70), round(WIDTH * camera / AT_70)]
        for fov in (CHOSEN_AT, *OTHERS):
            stand = {
                "model.encoder.pretrained": tower,
                "model.head.temperature": temperature,
                "model.head.camera": None,
                "data.view": {"size": size},
                "data.fov": fov,
            }
            scaled = {**stand, "model.head.camera": camera}
            resized = {**scaled, "data.view": {"size": size, "focal": camera}}
            chosen.append(Variant(name_of(fov, STAND, tower), stand))
            chosen.append(Variant(name_of(fov, SCALED, tower), scaled))
            chosen.append(Variant(name_of(fov, RESIZED, tower), resized))
    return chosen


def against_training(results: Results) -> str:
    """Return a table with abs_rel relative to that of the same tower at the field of view at which the bins hold."""
    found = {row.name: row.figures["abs_rel"].value for row in results.rows}
    lines = [
        f"**abs_rel against that of the same tower at {CHOSEN_AT} degrees** (bold: within {ALLOWED:.0%})",
        "",
        f"| | {' | '.join(f'{fov} degrees' for fov in OTHERS)} |",
        "| --- |" + " ---: |" * len(OTHERS),
    ]
    for tower in TOWERS:
        base = found.get(name_of(CHOSEN_AT, STAND, tower))
        for how in (STAND, SCALED, RESIZED):
            cells = []
            for fov in OTHERS:
                value = found.get(name_of(fov, how, tower))
                change = None if value is None or base is None else value / base - 1
                shown = "" if change is None else f"{change:+.0%}"
                cells.append(f"**{shown}**" if change is not None and abs(change) <= ALLOWED else shown)
            lines.append(f"| {tower}: {how} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: Results, path: Path) -> None:
    """Draw abs_rel of each tower over the field of view, with intervals and the band around that at 70 degrees."""
    rows = {row.name: row for row in results.rows}
    fields = sorted((CHOSEN_AT, *OTHERS))
    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(results.question)
    axes = figure.subplots(1, len(TOWERS), sharey=True)
    for axis, tower in zip(axes, TOWERS, strict=True):
        if base := rows.get(name_of(CHOSEN_AT, STAND, tower)):
            value = base.figures["abs_rel"].value
            label = f"within {ALLOWED:.0%} of {CHOSEN_AT} degrees"
            axis.axhspan(value * (1 - ALLOWED), value * (1 + ALLOWED), color="0.9", label=label)
        for shift, how in enumerate((STAND, SCALED, RESIZED), start=-1):
            found = {fov: rows.get(name_of(fov, how, tower)) for fov in fields}
            lenses = [fov + 0.4 * shift for fov, row in found.items() if row]
            values, reaches = spans([row for row in found.values() if row], "abs_rel")
            axis.errorbar(lenses, values, yerr=reaches, fmt="o-", capsize=3, label=how)
        axis.set(xlabel="field of view in degrees", title=f"tower `{tower}`")
        axis.set_xticks(fields)
    axes[0].set_ylabel("abs_rel (95 % intervals)")
    axes[-1].legend()
    save_figure(figure, path)


STUDY = Study(
    name="cameras",
    question="Do metres hold through another lens?",
    variants=variants,
    recipe="rooms_lenses",
    settings={"model.published": None, "model.training_baselines": False},
    quick_settings={"data.test_size": 100},
    notes=against_training,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
