"""Draw the rows of a study with their intervals, on one axis for each error and test set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthclip.figure_files import write_figure
from depthclip.study.collect import HEADLINE, Results, Row
from depthclip.study.files import open_result
from depthclip.study.tables import header

Span = tuple[list[float], list[list[float]]]


def spans(rows: Sequence[Row], error: str) -> Span:
    """Return the figures of rows, and the lengths of their intervals below and above the figures."""
    figures = [row.figures[error] for row in rows]
    below, above = [f.value - f.low for f in figures], [f.high - f.value for f in figures]
    return [f.value for f in figures], [below, above]


def draw_rows(results: Results, path: Path, errors: Sequence[str] = HEADLINE) -> None:
    """Draw errors of all rows with intervals; published figures are hollow.

    Each test set has separate axes, and so has each alignment.

    Args:
        results: results to draw.
        path: picture to write.
        errors: errors to draw, each in a column of axes.
    """
    sets = [[row for row in rows if row.name.partition(",")[0] != "random"] for rows in results.test_sets()]
    heights = [0.6 + 0.32 * len(rows) for rows in sets]
    figure = Figure(figsize=(5 * len(errors), 0.6 + sum(heights)), layout="constrained")
    grid = figure.subplots(len(sets), len(errors), squeeze=False, sharey="row", height_ratios=heights)
    for axes, rows in zip(grid, sets, strict=True):
        for axis, error in zip(axes, errors, strict=True):
            draw_axis(axis, [row for row in rows if error in row.figures], error)
        if len(results.alignments) > 1 and rows:
            axes[0].set_title(f"alignment: {rows[0].test_set.alignment}", fontsize=9, loc="left")
    published = ", diamonds: published" if any(row.published for row in results.rows) else ""
    title = f"{results.question}\n95 % intervals over {results.unit}, cyan: baselines{published}".lstrip()
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


def draw_axis(axis: Axes, rows: Sequence[Row], error: str) -> None:
    """Draw one error of the rows of a test set on an axis; hide the axis if there are no rows."""
    if not rows:
        axis.set_visible(False)
        return
    places = np.arange(len(rows))[::-1]
    values, reaches = spans(rows, error)
    for row, place, value, below, above in zip(rows, places, values, *reaches, strict=True):
        colour = "tab:cyan" if row.baseline else "tab:blue"
        axis.errorbar(value, place, xerr=[[below], [above]], fmt="o", color=colour, ms=5)
        if error in row.published:
            axis.plot(row.published[error], place, "D", mfc="none", color="tab:pink")
    axis.axvline(values[0], color="0.8", zorder=0)
    axis.set_yticks(places, [row.name for row in rows], parse_math=False)
    axis.set_xlabel(header(error, rows[0].further))
    axis.grid(axis="x", alpha=0.3)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, PDF or SVG, as the suffix of the path says."""
    with open_result(path) as file:
        write_figure(figure, file, path.suffix[1:])
