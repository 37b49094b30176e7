"""Format and write the results: tables for the screen, Markdown, CSV and JSON, and the errors of every image."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from depthclip.evaluation.bootstrap import DRAWS, Interval, TestSet
from depthclip.evaluation.metrics import ERRORS, higher_is_better
from depthclip.study.collect import HEADLINE, LEVEL, UNCLEAR, Results, Row
from depthclip.study.files import save_json, save_scores, save_text

VERDICT, HOLM, TEST_SET, ALIGNMENT = "compared", "Holm", "test set", "alignment"
OFF_SCREEN = ("sq_rel", "rmse_log")
OFF_NARROW_SCREEN = (*OFF_SCREEN, "log10", "delta2", "delta3")  # beside alignments or further figures


@dataclass(frozen=True)
class Layout:
    """The columns of a table.

    Args:
        error: error that rows are compared by.
        holm: add a column with the verdict after Holm's correction.
        test_sets: add a column with the letter of the test set.
        alignments: add a column with the alignment.
        further: further figures, and whether the larger of each is the better.
    """

    error: str = "abs_rel"
    holm: bool = False
    test_sets: bool = False
    alignments: bool = False
    further: Mapping[str, bool] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[str, ...]:
        """The nine errors and the further figures."""
        return (*ERRORS, *self.further)

    @property
    def difference(self) -> str:
        """The name of the column of differences."""
        return f"Δ {self.error}"

    @property
    def columns(self) -> list[str]:
        """The columns after the name of the row."""
        compared = [self.error, self.difference, VERDICT, *([HOLM] if self.holm else [])]
        places = [*([TEST_SET] if self.test_sets else []), *([ALIGNMENT] if self.alignments else [])]
        return [*places, *compared, *(error for error in self.errors if error != self.error)]

    def header(self, column: str) -> str:
        """Return the name of a column, with an arrow that shows the better direction of a figure."""
        return header(column, self.further)


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Args:
        name: name of the line.
        texts: text by column.
        kind: `row`, `baseline` or `quoted`.
    """

    name: str
    texts: Mapping[str, str]
    kind: str


def layout_of(results: Results, error: str = "abs_rel", compared: bool = False) -> Layout:
    """Return the layout of a table of results.

    Args:
        results: results to show.
        error: error that rows are compared by.
        compared: add Holm's correction, and the test set if there are several, as for runs of different studies.
    """
    several = compared and len({rows[0].test_set.unaligned for rows in results.test_sets()}) > 1
    return Layout(error, compared, several, len(results.alignments) > 1, results.further)


def header(column: str, further: Mapping[str, bool] | None = None) -> str:
    """Return the name of a column, with an arrow that shows the better direction of a figure.

    Args:
        column: name of the column.
        further: further figures, and whether the larger of each is the better.
    """
    higher = {**dict.fromkeys(ERRORS, False), **(further or {})}
    return f"{column}{'↑' if higher[column] or higher_is_better(column) else '↓'}" if column in higher else column


def decimal(error: str, value: float | None) -> str:
    """Return a figure as text, "" for None."""
    return "" if value is None else f"{value:.1f}" if error == "silog" else f"{value:.3f}"


def lines(results: Results, layout: Layout) -> list[Line]:
    """Return the lines: rows with published figures below them, oracles, and the figures that the recipes quote."""
    letters = letters_of(results)
    corrected = results.corrected(layout.error) if layout.holm else {}

    def quoted(name: str, figures: Mapping[str, float], alignment: str = "") -> Line:
        texts = {error: decimal(error, figures.get(error)) for error in ERRORS}
        return Line(name, {ALIGNMENT: alignment, **texts}, "quoted")

    result = []
    for row in results.rows:
        places = {TEST_SET: letters[row.test_set.unaligned], ALIGNMENT: row.test_set.alignment}
        texts = {**places, **cells(row, layout), HOLM: holm_verdict(row, layout, corrected)}
        result.append(Line(row.name, texts, "baseline" if row.baseline else "row"))
        if row.published and row is results.find(row.name):  # once, and not for each alignment
            result.append(quoted(f"{row.name} (published)", row.published))
    note = "" if layout.alignments or results.alignments == ("none",) else ", not aligned"
    result += [quoted(name + note, figures, "none") for name, figures in results.oracle.items()]
    result += [quoted(f"{name} (published)", figures) for name, figures in results.published.items()]
    return result


def letters_of(results: Results) -> dict[TestSet, str]:
    """Return a letter for each test set, whatever the alignment: A, B, ..., Z, AA, ..."""
    names = [f"{a}{b}" for a in ("", *ascii_uppercase) for b in ascii_uppercase]
    sets = dict.fromkeys(rows[0].test_set.unaligned for rows in results.test_sets())
    return dict(zip(sets, names, strict=False))


def cells(row: Row, layout: Layout) -> dict[str, str]:
    """Return the figures of a row as text, by column."""
    long = (*HEADLINE, layout.error)
    figures = {e: str(figure) if e in long else decimal(e, figure.value) for e, figure in row.figures.items()}
    change = row.difference.get(layout.error)
    versus = f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]" if change else ""
    return {**figures, layout.difference: versus, VERDICT: row.verdict_of(layout.error)}


def holm_verdict(row: Row, layout: Layout, corrected: Mapping[tuple[str, str], float]) -> str:
    """Return the verdict on a row after Holm's correction, with the corrected p-value."""
    if row.key not in corrected:
        return ""
    p = corrected[row.key]
    return f"{row.verdict_of(layout.error) if p < LEVEL else UNCLEAR}, p = {p:.3f}"


def footnote(results: Results, layout: Layout) -> str:
    """Return the explanation of the figures, and the reasons of missing rows."""
    letters = letters_of(results)
    if layout.test_sets:
        images = "; ".join(f"{letter}: {images.size} images of {images.data}" for images, letter in letters.items())
    else:
        images = " and ".join(sorted({f"{images.size} images of {images.data}" for images in letters}))
    text = (
        f"The figures are means over {images}; brackets contain 95 % bootstrap intervals over {results.unit}. "
        f"{layout.difference} is the paired difference to the first row on the same images."
    )
    if layout.alignments:
        text += " Rows are compared within the same alignment."
    else:
        text += f" Alignment: {', '.join(results.alignments)}."
    if layout.holm:
        count = len(results.corrected(layout.error))
        text += f" The p-values of Holm are corrected for the {count} comparisons of this table."
    reasons: dict[str, list[str]] = {}
    for name, reason in results.failed.items():
        reasons.setdefault(reason, []).append(name)
    return "\n".join([text, *(f"Not scored: {'; '.join(names)}. {reason}" for reason, names in reasons.items())])


def screen_table(results: Results, layout: Layout) -> Table:
    """Return the table for the screen, without some of the nine errors."""
    result = Table(title=escape(results.question), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    hidden = OFF_NARROW_SCREEN if layout.alignments or layout.further else OFF_SCREEN
    shown = [column for column in layout.columns if column not in hidden or column == layout.error]
    result.add_column("", overflow="fold")
    for column in shown:
        result.add_column(layout.header(column), justify="right", no_wrap=True)
    styles = {"row": "", "baseline": "cyan", "quoted": "magenta"}
    for line in lines(results, layout):
        texts = (escape(line.texts.get(column, "")) for column in shown)
        result.add_row(escape(line.name), *texts, style=styles[line.kind])
    return result


def markdown(results: Results, layout: Layout, notes: str = "") -> str:
    """Return the table and the notes as Markdown."""

    def row(entries: Sequence[str]) -> str:
        return "| " + " | ".join(entry.replace("|", "\\|") for entry in entries) + " |"

    columns = layout.columns
    body = [row(["", *map(layout.header, columns)]), row(["---", *(["---:"] * len(columns))])]
    body += [row([line.name, *(line.texts.get(column, "") for column in columns)]) for line in lines(results, layout)]
    title = f"**{results.question}**" if results.question else ""
    return "\n\n".join(part for part in (title, "\n".join(body), footnote(results, layout), notes) if part) + "\n"


def comma_separated(results: Results, layout: Layout) -> str:
    """Return every figure as CSV, with a line for each row and error."""
    bounds = ("value", "low", "high")
    differences = [f"difference_{bound}" for bound in bounds]
    extra = ["alignment", *(["data", "p", "p_holm"] if layout.holm else [])]
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["row", "baseline", "error", *bounds, "reference", *differences, "published", *extra])
    corrected = {error: results.corrected(error) for error in layout.errors} if layout.holm else {}
    for row in results.rows:
        for error, figure in row.figures.items():
            change = row.difference.get(error)
            entry = [row.name, row.baseline, error, figure.value, figure.low, figure.high, row.reference]
            entry += [change.value, change.low, change.high] if change else ["", "", ""]
            entry += [row.published.get(error, ""), row.test_set.alignment]
            if layout.holm:
                entry += [row.test_set.data, row.p.get(error, ""), corrected[error].get(row.key, "")]
            writer.writerow(entry)
    return file.getvalue()


def as_json(results: Results) -> dict[str, Any]:
    """Return the results as a JSON object."""

    def plain(figures: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
        return {error: vars(interval) for error, interval in figures.items()}

    def described(row: Row) -> dict[str, Any]:
        return {
            "baseline": row.baseline,
            "data": row.test_set.data,
            "alignment": row.test_set.alignment,
            "figures": plain(row.figures),
            "reference": row.reference,
            "difference": plain(row.difference),
            "p": row.p,
            "verdict": row.verdict,
            "published": dict(row.published),
        }

    rows = {row.name: described(row) for row in results.rows if row is results.find(row.name)}
    aligned: dict[str, dict[str, Any]] = {}
    for row in results.rows:
        if row is not results.find(row.name):
            aligned.setdefault(row.test_set.alignment, {})[row.name] = described(row)
    return {
        "question": results.question,
        "rows": rows,
        "aligned": aligned,
        "oracle": results.oracle,
        "published": results.published,
        "interval": f"95 %, {DRAWS} draws of {results.unit}",
        "failed": results.failed,
        "runs": results.runs,
    }


def scores_path(out: Path, number: int) -> Path:
    """Return the path of the errors of every image of a test set."""
    return out / ("errors.npz" if number == 0 else f"errors_{number}.npz")


def save_tables(results: Results, layout: Layout, notes: str, out: Path) -> list[Path]:
    """Write table.md, table.csv, results.json and the errors of every image; return their paths."""
    paths = [out / "table.md", out / "table.csv", out / "results.json"]
    save_text(paths[0], markdown(results, layout, notes))
    save_text(paths[1], comma_separated(results, layout))
    for number, rows in enumerate(results.test_sets()):
        paths.append(scores_path(out, number))
        save_scores(paths[-1], [(row.name, scored) for row in rows for scored in row.scored])
    scores_path(out, len(results.test_sets())).unlink(missing_ok=True)  # from a run with more test sets
    # written last, because a folder with results.json is a study
    save_json(paths[2], as_json(results))
    return paths
