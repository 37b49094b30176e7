"""Print the table of figures."""

import sys
from collections.abc import Collection
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from depthclip.evaluation.summary import Rows, alignment_of, by_alignment


def metrics_table(metrics: dict[str, Any]) -> Table:
    """Return a table with the rows of the model, the baselines and the published rows; the best head is bold.

    The title names the alignment; if there are several, a column names the alignment of each row. The best constant is
    never aligned.

    Args:
        metrics: content of metrics.json.
    """
    several = bool(metrics["aligned"])
    title = "mean over images" if several else f"mean over images, alignment: {metrics['alignment']}"
    result = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    result.add_column("", overflow="fold", min_width=8)
    if several:
        result.add_column("alignment", no_wrap=True)
    higher = metrics["higher_is_better"]
    errors = list(dict.fromkeys(error for row in metrics["figures"].values() for error in row))
    for error in errors:
        result.add_column(f"{error}{'↑' if error in higher else '↓'}", justify="right", no_wrap=True)

    def add(rows: Rows, alignment: str, style: str = "", best: dict[str, float] | None = None) -> None:
        for name, row in rows.items():
            # rich would read brackets in a string as markup, but not in a Text
            cells = (_cell(row, error, error in row and row[error] == (best or {}).get(error)) for error in errors)
            of_row = alignment_of(name, alignment)
            label = name if several or of_row == alignment else f"{name}, not aligned"
            result.add_row(Text(label), *([of_row] if several else []), *cells, style=style)
        result.add_section()

    for alignment, rows, baselines in by_alignment(metrics):
        add(rows, alignment, best=_best(rows, higher) if len(rows) > 1 else {})
        add(baselines, alignment, "cyan")
    add({f"{name} (published)": row for name, row in metrics["published"].items()}, "", "magenta")
    return result


def render(table: Table) -> str:
    """Return a table as text, as wide as the terminal; without a terminal, as wide as the table needs."""
    width = None if sys.stdout.isatty() else max(120, Console(width=10_000).measure(table).maximum)
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def print_text(text: str) -> None:
    """Print a text, with `?` for characters that standard output cannot encode."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def _best(rows: Rows, higher: Collection[str]) -> dict[str, float]:
    errors = {error for row in rows.values() for error in row}
    return {e: (max if e in higher else min)(row[e] for row in rows.values() if e in row) for e in errors}


def _cell(row: dict[str, float], error: str, bold: bool = False) -> str:
    text = f"{row[error]:.1f}" if error == "silog" and error in row else f"{row[error]:.3f}" if error in row else "-"
    return f"[bold]{text}[/bold]" if bold else text
