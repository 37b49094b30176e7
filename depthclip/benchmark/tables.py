"""Tables of figures, for the screen, for Markdown and for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from depthclip.benchmark.timing import Spread

Value = Spread | float | int | str | None


@dataclass(frozen=True)
class Table:
    """A table of figures.

    Args:
        name: name of the section.
        title: what the figures are.
        columns: names of the columns after the name of the row.
        rows: values by column, by the name of the row.
        note: sentence below the table.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Mapping[str, Mapping[str, Value]]
    note: str = ""

    def cells(self) -> list[list[str]]:
        """Return the texts of all rows, with the name of the row first."""
        return [[name, *(text_of(row.get(column)) for column in self.columns)] for name, row in self.rows.items()]

    def for_screen(self) -> RichTable:
        """Return the table for the screen."""
        result = RichTable(
            title=f"{self.name}: {self.title}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left"
        )
        result.add_column("", overflow="fold", min_width=8)
        for column in self.columns:
            result.add_column(column, justify="right")
        for cells in self.cells():
            result.add_row(*map(Text, cells))  # rich would read brackets in a string as markup
        return result

    def markdown(self) -> str:
        """Return the table as Markdown."""
        head = ["| | " + " | ".join(self.columns) + " |", "| --- |" + " ---: |" * len(self.columns)]
        body = ["| " + " | ".join(cells) + " |" for cells in self.cells()]
        note = ["", self.note] if self.note else []
        return "\n".join([f"**{self.name}**: {self.title}", "", *head, *body, *note])

    def plain(self) -> dict[str, Any]:
        """Return the table as plain values for JSON."""
        rows = {
            name: {column: value._asdict() if isinstance(value, Spread) else value for column, value in row.items()}
            for name, row in self.rows.items()
        }
        return {**asdict(self), "columns": list(self.columns), "rows": rows}


def text_of(value: Value) -> str:
    """Return a value as text: three digits, and the quartiles of a spread in brackets."""
    if isinstance(value, Spread):
        return f"{short_number(value.median)} [{short_number(value.low)}, {short_number(value.high)}]"
    if isinstance(value, float):
        return short_number(value)
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else value


def short_number(value: float) -> str:
    """Return a number with three digits, or all digits of its whole part."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:#.3g}"
