"""Do metres hold through another lens? Score rooms at three fields of view with bins that were chosen at 70 degrees."""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from depthclip.camera import focal_length
from depthclip.data.rooms import HEIGHT, WIDTH
from depthclip.study import HeadSettings, Options, Results, Study, Variant, main
from depthclip.study.pictures import save_figure, spans

CHOSEN_AT, OTHERS = 70, (50, 90)  # degrees across the width
CAMERA = focal_length(WIDTH, CHOSEN_AT)
STAND, SCALED, RESIZED = "metres as they stand", "metres * focal / camera", "resized to the focal length of the bins"
ALLOWED = 0.15  # of abs_rel at 70 degrees


def name_of(fov: int, how: str) -> str:
    """Return the name of a row."""
    return f"{fov} degrees: {how}"


def variants(options: Options, head: HeadSettings) -> list[Variant]:
    """Return the recipe at each field of view, without and with a camera, and with images resized to its focal length.

    A wide image that is resized becomes larger than the images of the training, and is cut into windows of their size.
    """
    chosen = []
    for fov in (CHOSEN_AT, *OTHERS):
        lens = {"data.fov": fov}
        chosen.append(Variant(name_of(fov, STAND), lens))
        chosen.append(Variant(name_of(fov, SCALED), {**lens, "model.head.camera": CAMERA}))
        if fov != CHOSEN_AT:
            zoom = CAMERA / focal_length(WIDTH, fov)
            size = [round(HEIGHT * zoom), round(WIDTH * zoom)]
            view = {"data.view.size": size} | ({"data.view.window": [HEIGHT, WIDTH]} if zoom > 1 else {})
            chosen.append(Variant(name_of(fov, RESIZED), {**lens, **view, "model.head.camera": CAMERA}))
    return chosen


def against_training(results: Results) -> str:
    """Return a table with abs_rel relative to that at the field of view at which the bins were chosen."""
    found = {row.name: row.figures["abs_rel"].value for row in results.rows}
    lines = [
        f"**abs_rel against that at {CHOSEN_AT} degrees** (bold: within {ALLOWED:.0%})",
        "",
        f"| | {' | '.join(f'{fov} degrees' for fov in OTHERS)} |",
        "| --- |" + " ---: |" * len(OTHERS),
    ]
    for how in (STAND, SCALED, RESIZED):
        cells = []
        for fov in OTHERS:
            value, base = found.get(name_of(fov, how)), found.get(name_of(CHOSEN_AT, STAND))
            change = None if value is None or base is None else value / base - 1
            shown = "" if change is None else f"{change:+.0%}"
            cells.append(f"**{shown}**" if change is not None and abs(change) <= ALLOWED else shown)
        lines.append(f"| {how} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: Results, path: Path) -> None:
    """Draw abs_rel over the field of view with intervals, and the band within 15 % of that at 70 degrees."""
    rows = {row.name: row for row in results.rows}
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    if base := rows.get(name_of(CHOSEN_AT, STAND)):
        value = base.figures["abs_rel"].value
        label = f"within {ALLOWED:.0%} of {CHOSEN_AT} degrees"
        axis.axhspan(value * (1 - ALLOWED), value * (1 + ALLOWED), color="0.9", label=label)
    for shift, how in enumerate((STAND, SCALED, RESIZED), start=-1):
        found = {fov: rows.get(name_of(fov, how)) for fov in sorted((CHOSEN_AT, *OTHERS))}
        if how == RESIZED:
            found[CHOSEN_AT] = rows.get(name_of(CHOSEN_AT, STAND))  # which has the focal length already
        lenses = [fov + 0.4 * shift for fov, row in found.items() if row]
        values, reaches = spans([row for row in found.values() if row], "abs_rel")
        axis.errorbar(lenses, values, yerr=reaches, fmt="o-", capsize=3, label=how)
    axis.set(xlabel="field of view in degrees", ylabel="abs_rel (95 % intervals)", title=results.question)
    axis.set_xticks(sorted((CHOSEN_AT, *OTHERS)))
    axis.legend()
    save_figure(figure, path)


STUDY = Study(
    name="cameras",
    question="Do metres hold through another lens?",
    variants=variants,
    recipe="rooms",
    settings={"model.published": None, "model.training_baselines": False},
    quick_settings={"data.test_size": 100},
    notes=against_training,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
