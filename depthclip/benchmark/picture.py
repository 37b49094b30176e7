"""Draw the tables of a benchmark: speed, shares, and growth."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthclip.benchmark.tables import Table
from depthclip.benchmark.timing import Spread
from depthclip.study import save_figure

DRAWN = {
    "speed": ("images/s", "images per second"),
    "shares": ("ms/image", "ms per image"),
    "growth": ("times the first", "cost of an image, times the first of its group"),
    "training": ("ms/image", "ms per image"),
    "startup": ("seconds", "seconds"),
}  # column of each section, and its label


def draw(tables: Mapping[str, Table], title: str, path: Path) -> None:
    """Draw the sections that have a spread as bars with quartiles.

    Args:
        tables: tables by the name of the section.
        title: title of the picture.
        path: picture to write.
    """
    drawn = [tables[name] for name in DRAWN if name in tables]
    if not drawn:
        return
    heights = [0.7 + 0.3 * len(table.rows) for table in drawn]
    figure = Figure(figsize=(9, 0.8 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(drawn), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, table in zip(axes, drawn, strict=True):
        draw_table(axis, table, *DRAWN[table.name])
    figure.suptitle(f"{title}\nmedians; whiskers: quartiles of interleaved rounds", fontsize=10, parse_math=False)
    save_figure(figure, path)


def draw_table(axis: Axes, table: Table, column: str, label: str) -> None:
    """Draw a column of a table as bars, with the value beside each."""
    spreads = {name: row[column] for name, row in table.rows.items() if isinstance(row[column], Spread)}
    places = np.arange(len(spreads))
    for place, spread in zip(places, spreads.values(), strict=True):
        assert isinstance(spread, Spread)
        axis.barh(place, spread.median, height=0.6, color="tab:blue", alpha=0.85)
        reach = [[max(0.0, spread.median - spread.low)], [max(0.0, spread.high - spread.median)]]
        axis.errorbar(spread.median, place, xerr=reach, fmt="none", color="0.15", capsize=2, lw=1)
        axis.annotate(
            f"{spread.median:.3g}",
            (max(spread.high, spread.median), place),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axis.set_yticks(places, list(spreads), parse_math=False, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(label, fontsize=8)
    axis.set_title(table.name, fontsize=9, loc="left")
    axis.margins(x=0.12)
    axis.grid(axis="x", alpha=0.3)
