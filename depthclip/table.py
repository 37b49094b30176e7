"""Print the table of figures."""

import sys
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def metrics_table(metrics: dict[str, Any]) -> Table:
    """Return a table with the rows of the model, the baselines and the published rows; the best head is bold.

    Args:
        metrics: content of metrics.json.
    """
    result = Table(title="mean over images", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    result.add_column("", overflow="fold", min_width=8)
    rows, higher = metrics["figures"], metrics["higher_is_better"]
    errors = list(dict.fromkeys(error for row in rows.values() for error in row))
    for error in errors:
        result.add_column(f"{error}{'↑' if error in higher else '↓'}", justify="right", no_wrap=True)
    best = {e: (max if e in higher else min)(row[e] for row in rows.values() if e in row) for e in errors}
    for name, row in rows.items():
        # rich would read brackets in a string as markup, but not in a Text
        result.add_row(
            Text(name), *(_cell(row, error, row.get(error) == best[error] and len(rows) > 1) for error in errors)
        )
    for kind, style in (("baselines", "cyan"), ("published", "magenta")):
        result.add_section()
        for name, row in metrics[kind].items():
            label = f"{name} (published)" if kind == "published" else name
            result.add_row(Text(label), *(_cell(row, error) for error in errors), style=style)
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


def _cell(row: dict[str, float], error: str, bold: bool = False) -> str:
    text = f"{row[error]:.1f}" if error == "silog" and error in row else f"{row[error]:.3f}" if error in row else "-"
    return f"[bold]{text}[/bold]" if bold else text
