"""The table of figures on the screen, and printing that no name and no encoding can break."""

import sys
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def table(metrics: dict[str, Any]) -> Table:
    """Return a table of the model's rows above the baselines and the published ones; the best of the model is bold."""
    result = Table(title="mean over images", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    result.add_column("", overflow="fold", min_width=8)
    rows, higher = metrics["figures"], metrics["higher_is_better"]
    errors = list(next(iter(rows.values())))
    for error in errors:
        result.add_column(f"{error}{'↑' if error in higher else '↓'}", justify="right", no_wrap=True)
    best = {e: (max if e in higher else min)(row[e] for row in rows.values()) for e in errors}
    for name, row in rows.items():
        # a Text is printed as it is, while brackets in a string would be markup
        result.add_row(
            Text(name), *(_cell(row, error, row[error] == best[error] and len(rows) > 1) for error in errors)
        )
    for kind, style in (("baselines", "cyan"), ("published", "magenta")):
        result.add_section()
        for name, row in metrics[kind].items():
            label = f"{name} (published)" if kind == "published" else name
            result.add_row(Text(label), *(_cell(row, error) for error in errors), style=style)
    return result


def render(table: Table) -> str:
    """Return a table as text: as wide as the terminal, and in a file as wide as it needs."""
    width = None if sys.stdout.isatty() else max(120, Console(width=10_000).measure(table).maximum)
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def say(text: str) -> None:
    """Print a text, with `?` for characters that standard output cannot encode."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def _cell(row: dict[str, float], error: str, bold: bool = False) -> str:
    text = f"{row[error]:.1f}" if error == "silog" and error in row else f"{row[error]:.3f}" if error in row else "-"
    return f"[bold]{text}[/bold]" if bold else text
