"""The steps of the ladder as a table and as a picture: a waterfall from the ground truth down to a blank image."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthclip.evaluation.metrics import higher_is_better
from depthclip.probes.ladder import CONTROLS, STEPS, WORDS, Rung
from depthclip.study import HEADLINE, Results, Row, header, make_row, save_figure, spans

BLIND = ("training constant", "training median map")  # fitted baselines that ignore the image
UNITS = {"abs_rel": ", share of the depth", "delta1": ", share of the pixels"}
COLOURS = {
    "resolution": "0.55",
    "bins": "tab:olive",
    "features": "tab:blue",
    "last map": "tab:cyan",
    "form of words": "tab:orange",
    "choice of words": "tab:red",
    "no image": "tab:purple",
}
BEYOND = 2.5  # the axis ends at this multiple of the larger figure of the words and the best baseline


def rows_of(results: Results, rungs: Sequence[Rung]) -> list[tuple[Rung, Row]]:
    """Return the rungs that were scored, with their rows."""
    return [(rung, row) for rung in rungs if (row := results.find(rung.name)) is not None]


def best_without_image(results: Results, error: str) -> float:
    """Return the best figure of a fitted prediction that ignores the image."""
    figures = [row.figures[error].value for name in BLIND if (row := results.find(name)) is not None]
    return max(figures) if higher_is_better(error) else min(figures)


def step_tables(results: Results) -> str:
    """Return tables of the steps, each with the difference to the step above, and of the controls."""
    lines = ["**The steps**, each compared with the one above on the same images", ""]
    lines += ["| row | abs_rel | added | cause | what it isolates |", "| --- | ---: | ---: | --- | --- |"]
    above: Row | None = None
    for rung, row in rows_of(results, STEPS):
        change = versus(row, above) if above is not None else f"+{row.figures['abs_rel']}"
        lines.append(f"| {row.name} | {row.figures['abs_rel'].value:.3f} | {change} | {rung.cause} | {rung.isolates} |")
        above = row
    lines += ["", "**The controls**, compared with the words of the recipe", ""]
    lines += ["| row | abs_rel | difference | what it isolates |", "| --- | ---: | ---: | --- |"]
    words = results.find(WORDS)
    for rung, row in rows_of(results, CONTROLS):
        lines.append(f"| {row.name} | {row.figures['abs_rel'].value:.3f} | {versus(row, words)} | {rung.isolates} |")
    return "\n".join(lines)


def versus(row: Row, reference: Row | None) -> str:
    """Return the paired difference in abs_rel with its interval, and the verdict."""
    compared = make_row(row.name, row.baseline, row.scored, reference, {})
    change = compared.difference["abs_rel"]
    verdict = "" if compared.verdict in ("better", "worse") else f", {compared.verdict}"
    return f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]{verdict}"


def blank_table(results: Results, blanks: dict[str, tuple[float, str]]) -> str:
    """Return a table of the depth and the word that images of one colour get, beside the best baseline.

    Args:
        results: results of the ladder.
        blanks: median depth in metres and preferred word, by row.
    """
    best = best_without_image(results, "abs_rel")
    lines = [f"**Blank images**; the best fitted prediction that ignores the image has an abs_rel of {best:.3f}", ""]
    lines += [
        "| row | median depth | preferred word | abs_rel | above the best |",
        "| --- | ---: | --- | ---: | ---: |",
    ]
    for name, (metres, word) in blanks.items():
        if (row := results.find(name)) is not None:
            value = row.figures["abs_rel"].value
            lines.append(f"| {name} | {metres:.2f} m | {word} | {value:.3f} | {value / best - 1:+.0%} |")
    return "\n".join(lines)


def draw_waterfall(results: Results, path: Path, errors: Sequence[str] = HEADLINE) -> None:
    """Draw the steps as bars between neighbouring figures, and the controls as points below them.

    Args:
        results: results of the ladder.
        path: picture to write.
        errors: errors to draw, each in a column.
    """
    steps, controls = rows_of(results, STEPS), rows_of(results, CONTROLS)
    figure = Figure(figsize=(6.2 * len(errors), 1.4 + 0.36 * (len(steps) + len(controls))), layout="constrained")
    axes = figure.subplots(1, len(errors), squeeze=False, sharey=True)[0]
    for axis, error in zip(axes, errors, strict=True):
        draw_error(axis, results, error)
    names = [row.name for _, row in (*steps, *controls)]
    axes[0].set_yticks(places(len(steps), len(controls)), names, parse_math=False)
    axes[0].invert_yaxis()
    images = results.rows[0].test_set.size
    title = f"{images} images of {results.rows[0].test_set.data}; whiskers: 95 % intervals over {results.unit}"
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


def places(steps: int, controls: int) -> list[float]:
    """Return the heights of the rows, with a gap between steps and controls."""
    return [*map(float, range(steps)), *(steps + 0.6 + k for k in range(controls))]


def draw_error(axis: Axes, results: Results, error: str) -> None:
    """Draw one error on an axis."""
    steps, controls = rows_of(results, STEPS), rows_of(results, CONTROLS)
    rows, best = [row for _, row in (*steps, *controls)], best_without_image(results, error)
    values, (below, above) = spans(rows, error)
    heights = places(len(steps), len(controls))
    share = higher_is_better(error)
    words = results.find(WORDS)
    limit = 1.0 if share else BEYOND * max(best, words.figures[error].value if words else 0)
    before = 1.0 if share else 0.0
    for k, row in enumerate(rows):
        end, added = min(values[k], limit), ""
        if k < len(steps):
            cause = steps[k][0].cause
            axis.barh(heights[k], end - before, left=before, height=0.62, color=COLOURS[cause], alpha=0.85)
            axis.plot([end, end], [heights[k], heights[k] + (k + 1 < len(steps))], color="0.3", lw=0.8, zorder=0)
            added = f"   {cause} {values[k] - before:+.3f}"
        if values[k] <= limit:
            reach = [[below[k]], [min(above[k], limit - values[k])]]
            axis.errorbar(values[k], heights[k], xerr=reach, fmt="o", ms=3.5, color="0.15", capsize=2, lw=1)
        right = min(max(values[k] + above[k], before if k < len(steps) else 0), limit)
        text = f"{'' if values[k] <= limit else '→ '}{row.figures[error].value:.3f}{added}"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
        axis.annotate(text, (right, heights[k]), (6, 0), textcoords="offset points", va="center", fontsize=8, bbox=box)
        before = values[k]
    axis.axvline(best, color="0.3", ls="--", lw=1, zorder=0, label="best fitted prediction without the image")
    axis.axhline((heights[len(steps) - 1] + heights[len(steps)]) / 2, color="0.8", lw=0.8)
    axis.set_xlim(0, 1.45 * limit)
    axis.set_xticks([tick for tick in axis.get_xticks() if 0 <= tick <= limit * 1.001])
    axis.set_xlabel(f"{header(error)}{UNITS.get(error, '')}")
    axis.grid(axis="x", alpha=0.3)
    axis.legend(loc="upper right" if not share else "lower right", fontsize=8)
