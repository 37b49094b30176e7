"""What a study found: figures with intervals, differences to the first row, tables, a picture.

Intervals are 95 % of a bootstrap over what is independent in the data: scenes or drives where there are at least ten,
images otherwise, and seeds where a row has several. Differences are paired: both rows are drawn with the same images.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from depthclip.evaluation.metrics import ERRORS, higher_is_better
from depthclip.report import write_json
from experiments.plan import Pass

DRAWS = 2000
FEWEST_SCENES = 10  # a bootstrap over fewer says little
HEADLINE = ("abs_rel", "delta1")
ORACLE = "best constant for each error (oracle)"
DIFFERENCE, VERDICT = "Δ abs_rel", "compared"
COLUMNS = ("abs_rel", DIFFERENCE, VERDICT, *ERRORS[1:])

Figures = dict[str, float]


@dataclass(frozen=True)
class Scored:
    """The errors of one thing on the images of one run.

    Args:
        errors: (n, 9), NaN for images that were skipped.
        images: their names.
        scenes: their scenes or drives, "" where the data set names none.
    """

    errors: np.ndarray
    images: tuple[str, ...]
    scenes: tuple[str, ...]

    def agrees(self, other: "Scored") -> bool:
        """Whether the same images gave the same errors."""
        return self.images == other.images and np.array_equal(self.errors, other.errors, equal_nan=True)


@dataclass(frozen=True)
class Interval:
    """A figure and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        name: what it is called.
        baseline: whether it is one.
        scored: its errors, with one entry for each seed.
        figures: the mean over images and seeds, by error.
        reference: the row it is compared with, "" where there is none on the same images.
        difference: to that row, by error; empty where there is none.
        published: figures of a paper, by error.
    """

    name: str
    baseline: bool
    scored: tuple[Scored, ...]
    figures: dict[str, Interval]
    reference: str
    difference: dict[str, Interval]
    published: Mapping[str, float]

    @property
    def verdict(self) -> str:
        """Whether abs_rel is better or worse than the reference's, as far as the interval says."""
        if not self.difference:
            return ""
        change = self.difference["abs_rel"]
        return "better" if change.high < 0 else "worse" if change.low > 0 else "no clear difference"


@dataclass(frozen=True)
class Results:
    """What a study found.

    Args:
        question: the study's.
        rows: the variants, then the baselines.
        oracle: what one constant reaches at best, for each error by itself; it has no errors of single images.
        published: what the recipes quote, by row.
        runs: of each run: its variants, recipe, folder, seconds, and what its metrics.json has of versions and commit.
        failed: variants that could not be scored, and why.
        unit: what the bootstrap draws: `images` or `scenes`.
    """

    question: str
    rows: list[Row]
    oracle: dict[str, Figures]
    published: dict[str, Figures]
    runs: list[dict[str, Any]]
    failed: dict[str, str]
    unit: str

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)


def collect(question: str, passes: Sequence[Pass], failed: dict[str, str]) -> Results:
    """Reads what finished passes wrote."""
    rows: dict[str, list[Scored]] = {}
    baselines: dict[str, list[tuple[str, Scored]]] = {}
    published: dict[str, Mapping[str, float]] = {}
    best: dict[tuple[str, ...], tuple[str, Figures]] = {}
    quoted: dict[str, Figures] = {}
    runs = []
    for one in passes:
        metrics = json.loads((one.folder / "metrics.json").read_text())
        scored = read_errors(one.folder / "errors.npz")
        for variant in one.variants:
            row = variant.row or variant.name
            rows.setdefault(row, []).append(scored[one.row_of(variant)])
            published[row] = variant.published
        first = one.variants[0]
        where = first.on or first.row or first.name
        for name in metrics["baselines"].keys() & scored.keys():
            baselines.setdefault(name, []).append((where, scored[name]))
        images = scored["head"].images
        best.setdefault(images, (where, metrics["baselines"]["best constant (oracle)"]))
        quoted.update(metrics["published"])
        runs.append(
            {
                "variants": [variant.name for variant in one.variants],
                "folder": str(one.folder),
                "seconds": json.loads((one.folder / "finished.json").read_text())["seconds"],
                "seed": one.recipe["seed_everything"],
                **{key: metrics[key] for key in ("images", "skipped", "data", "recipe", "versions", "commit")},
            }
        )
    for name, fitted in sorted(baselines.items()):
        rows.update(distinct(name, fitted))
    ours = {variant.row or variant.name for one in passes for variant in one.variants}
    result: list[Row] = []
    for name, members in rows.items():
        reference = next((row for row in result if row.scored[0].images == members[0].images), None)
        result.append(compare(name, name not in ours, members, reference, published.get(name, {})))
    oracle = {f"{ORACLE}, {name}" if len(best) > 1 else ORACLE: figures for name, figures in best.values()}
    return Results(question, result, oracle, quoted, runs, failed, unit_of(result[0].scored[0])[0])


def read_errors(path: Path) -> dict[str, Scored]:
    """The errors of every image that a run wrote, by row."""
    with np.load(path) as file:
        arrays = dict(file)
    own = {"error", "image", "scene", "pixels"}
    images, scenes = (tuple(arrays[key].tolist()) for key in ("image", "scene"))
    return {name: Scored(errors, images, scenes) for name, errors in arrays.items() if name not in own}


def distinct(name: str, members: Sequence[tuple[str, Scored]]) -> dict[str, list[Scored]]:
    """A baseline once where it is the same for all rows, or one for each row that has its own.

    It differs where rows were scored on other images, or fitted to others, such as few shots.
    """
    by_row: dict[str, list[Scored]] = {}
    for row, scored in members:
        by_row.setdefault(row, []).append(scored)
    kept: dict[str, list[Scored]] = {}
    for row, own in by_row.items():
        own = own[:1] if all(scored.agrees(own[0]) for scored in own) else own
        known = (other for other in kept.values() if len(other) == len(own))
        if not any(all(x.agrees(y) for x, y in zip(own, other, strict=True)) for other in known):
            kept[row] = own
    return {name if len(kept) == 1 else f"{name}, {row}": own for row, own in kept.items()}


def unit_of(scored: Scored) -> tuple[str, np.ndarray]:
    """What the bootstrap draws, and which of them each image belongs to."""
    named, scene = np.unique(scored.scenes, return_inverse=True)
    return ("scenes", scene) if len(named) >= FEWEST_SCENES else ("images", np.arange(len(scored.images)))


def draw_means(members: Sequence[Scored], draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """The mean errors of bootstrap draws, (draws, 9); rows of equal shape are drawn with the same images and seeds."""
    errors = np.stack([scored.errors for scored in members])  # (S, n, 9)
    counts = ~np.isnan(errors).any((0, 2))
    errors = errors[:, counts]
    _, unit = np.unique(unit_of(members[0])[1][counts], return_inverse=True)
    sizes = np.bincount(unit).astype(float)
    units = len(sizes)
    sums = np.zeros((len(errors), units, len(ERRORS)))
    for own, total in zip(errors, sums, strict=True):
        np.add.at(total, unit, own)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(units, np.full(units, 1 / units), size=draws)
    seeds = rng.multinomial(len(errors), np.full(len(errors), 1 / len(errors)), size=draws)
    drawn = np.einsum("rs,ru,suk->rk", seeds, weights, sums, optimize=True)
    return drawn / (seeds.sum(1) * (weights @ sizes))[:, None]


def compare(
    name: str, baseline: bool, members: Sequence[Scored], first: Row | None, published: Mapping[str, float]
) -> Row:
    """A row with its intervals, and its paired differences to the first."""
    drawn, means = draw_means(members), mean_of(members)
    figures = intervals(means, drawn)
    difference = {}
    if first is not None:
        difference = intervals(means - mean_of(first.scored), drawn - draw_means(first.scored))
    return Row(name, baseline, tuple(members), figures, first.name if first else "", difference, published)


def mean_of(members: Sequence[Scored]) -> np.ndarray:
    """The mean error over the images and seeds that count, (9,)."""
    return np.nanmean(np.concatenate([scored.errors for scored in members]), 0)


def intervals(means: np.ndarray, drawn: np.ndarray) -> dict[str, Interval]:
    """Means (9,) with the middle 95 % of their draws (R, 9), by error."""
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return {error: Interval(float(means[k]), float(low[k]), float(high[k])) for k, error in enumerate(ERRORS)}


def label(column: str) -> str:
    """A column's name, with an arrow to where an error is better."""
    return f"{column}{'↑' if higher_is_better(column) else '↓'}" if column in ERRORS else column


def cells(row: Row) -> dict[str, str]:
    """A row's figures as text, by column."""
    change = row.difference.get("abs_rel")
    figures = {e: str(row.figures[e]) if e in HEADLINE else number(e, row.figures[e].value) for e in ERRORS}
    versus = f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]" if change else ""
    return {**figures, DIFFERENCE: versus, VERDICT: row.verdict}


def number(error: str, value: float | None) -> str:
    """A figure as text."""
    return "" if value is None else f"{value:.1f}" if error == "silog" else f"{value:.3f}"


def lines(found: Results) -> list[tuple[str, dict[str, str]]]:
    """The lines of the table: rows with the published ones below them, oracles, and what the recipes quote."""

    def plain(figures: Mapping[str, float]) -> dict[str, str]:
        return {error: number(error, figures.get(error)) for error in ERRORS}

    result = []
    for row in found.rows:
        result.append((row.name, cells(row)))
        if row.published:
            result.append((f"{row.name} (published)", plain(row.published)))
    result += [(name, plain(own)) for name, own in found.oracle.items()]
    result += [(f"{name} (published)", plain(own)) for name, own in found.published.items()]
    return result


def footnote(found: Results) -> str:
    """What the figures are, and what is missing."""
    images = " and ".join(sorted({f"{run['images']} images of {run['data']['data']}" for run in found.runs}))
    text = (
        f"Means over {images}; in brackets 95 % bootstrap intervals over {found.unit}. "
        f"{DIFFERENCE}: paired difference to the first row on the same images."
    )
    reasons: dict[str, list[str]] = {}
    for name, reason in found.failed.items():
        reasons.setdefault(reason, []).append(name)
    return "\n".join([text, *(f"Not scored: {'; '.join(names)}. {reason}" for reason, names in reasons.items())])


def table(found: Results) -> Table:
    """The table for the screen."""
    result = Table(title=escape(found.question), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    shown = [column for column in COLUMNS if column not in ("sq_rel", "rmse_log")]
    result.add_column("", overflow="fold")
    for column in shown:
        result.add_column(label(column), justify="right", no_wrap=True)
    kinds = {row.name: "cyan" if row.baseline else "" for row in found.rows}
    for name, texts in lines(found):
        row = (escape(texts.get(column, "")) for column in shown)
        result.add_row(escape(name), *row, style=kinds.get(name, "magenta"))
    return result


def markdown(found: Results, notes: str) -> str:
    """The answer as Markdown."""

    def line(entries: Sequence[str]) -> str:
        return "| " + " | ".join(entry.replace("|", "\\|") for entry in entries) + " |"

    rules = ["---", *(["---:"] * len(COLUMNS))]
    rows = [line([name, *(texts.get(column, "") for column in COLUMNS)]) for name, texts in lines(found)]
    body = [line(["", *map(label, COLUMNS)]), line(rules), *rows]
    return (
        "\n\n".join(part for part in (f"**{found.question}**", "\n".join(body), footnote(found), notes) if part) + "\n"
    )


def write(found: Results, notes: str, out: Path) -> list[Path]:
    """Writes table.md, table.csv, results.json and errors.npz; where they are."""
    paths = [out / name for name in ("table.md", "table.csv", "results.json", "errors.npz")]
    paths[0].write_text(markdown(found, notes))
    with paths[1].open("w", newline="") as file:
        writer = csv.writer(file)
        bounds = ("value", "low", "high")
        writer.writerow(
            ["row", "baseline", "error", *bounds, "reference", *(f"difference_{b}" for b in bounds), "published"]
        )
        for row in found.rows:
            for error in ERRORS:
                own, change = row.figures[error], row.difference.get(error)
                versus = (change.value, change.low, change.high) if change else ("", "", "")
                entry = [row.name, row.baseline, error, own.value, own.low, own.high, row.reference, *versus]
                writer.writerow([*entry, row.published.get(error, "")])
    write_json(paths[2], as_json(found))
    arrays: dict[str, Any] = {row.name: np.stack([scored.errors for scored in row.scored]) for row in found.rows}
    for k, images in enumerate(dict.fromkeys(row.scored[0].images for row in found.rows)):
        mark = f" {k}" if k else ""
        arrays[f"image{mark}"] = np.array(images)
        arrays[f"scene{mark}"] = np.array(next(r.scored[0].scenes for r in found.rows if r.scored[0].images == images))
    np.savez(paths[3], **arrays, error=np.array(ERRORS))
    return paths


def as_json(found: Results) -> dict[str, Any]:
    """The results as JSON has them."""

    def plain(figures: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
        return {error: vars(interval) for error, interval in figures.items()}

    rows = {
        row.name: {
            "baseline": row.baseline,
            "figures": plain(row.figures),
            "reference": row.reference,
            "difference": plain(row.difference),
            "verdict": row.verdict,
            "published": dict(row.published),
        }
        for row in found.rows
    }
    return {
        "question": found.question,
        "rows": rows,
        "oracle": found.oracle,
        "published": found.published,
        "interval": f"95 %, {DRAWS} draws of {found.unit}",
        "failed": found.failed,
        "runs": found.runs,
    }


def draw_rows(found: Results, path: Path) -> None:
    """Draws the headline errors of all rows with their intervals, published figures hollow."""
    rows = [row for row in found.rows if row.name.partition(",")[0] != "random"]
    figure = Figure(figsize=(10, 1.2 + 0.32 * len(rows)), layout="constrained")
    places = np.arange(len(rows))[::-1]
    for axis, error in zip(figure.subplots(1, 2, sharey=True), HEADLINE, strict=True):
        for row, place in zip(rows, places, strict=True):
            own, colour = row.figures[error], "tab:cyan" if row.baseline else "tab:blue"
            axis.errorbar(
                own.value, place, xerr=[[own.value - own.low], [own.high - own.value]], fmt="o", color=colour, ms=5
            )
            if error in row.published:
                axis.plot(row.published[error], place, "D", mfc="none", color="tab:pink")
        axis.axvline(rows[0].figures[error].value, color="0.8", zorder=0)
        axis.set_yticks(places, [row.name for row in rows])
        axis.set_xlabel(label(error))
        axis.grid(axis="x", alpha=0.3)
    published = ", diamonds: published" if any(row.published for row in rows) else ""
    figure.suptitle(f"{found.question}\n95 % intervals over {found.unit}, cyan: baselines{published}", fontsize=10)
    figure.savefig(path, dpi=110)
