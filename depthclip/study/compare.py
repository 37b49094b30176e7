"""Compare finished runs and studies in one table: `python -m depthclip compare RUN RUN ...`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from depthclip.errors import InputError
from depthclip.evaluation.bootstrap import Scored
from depthclip.evaluation.metrics import ERRORS
from depthclip.figure_files import VECTORS, copies
from depthclip.study.collect import BEST_CONSTANT, ORACLE, Results, distinct_baselines, make_rows
from depthclip.study.files import METRICS, Figures, read_object, read_run, read_scores, save_text
from depthclip.study.latex import latex_table
from depthclip.study.pictures import draw_rows
from depthclip.study.tables import comma_separated, footnote, layout_of, markdown, scores_path, screen_table

RESULTS = "results.json"


class SourceRow(NamedTuple):
    """A row of a run or study.

    Args:
        name: name of the row.
        baseline: whether the row is a baseline.
        members: errors, one entry for each seed.
    """

    name: str
    baseline: bool
    members: tuple[Scored, ...]


@dataclass(frozen=True)
class Source:
    """The content of a run or a study.

    Args:
        label: name in the table.
        rows: rows, baselines included.
        oracle: best value that a constant depth reaches, by row and error.
        quoted: published figures that the recipe quotes, by row.
        published: published figures of a study's rows, by row.
    """

    label: str
    rows: list[SourceRow]
    oracle: dict[str, Figures]
    quoted: dict[str, Figures]
    published: dict[str, Figures]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m depthclip compare",
        description="Compare finished runs and studies in one table, with paired differences to the first row on the "
        "same images, 95 % bootstrap intervals, and Holm's correction for several comparisons.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder of a run (with metrics.json) or of a study (with results.json), or NAME=FOLDER",
    )
    parser.add_argument(
        "--error", default="abs_rel", help=f"error to compare: {', '.join(ERRORS)}, or a further figure of the runs"
    )
    parser.add_argument("--out", type=Path, default=Path("results/compare"), help="folder of the table and the figure")
    parser.add_argument("--vector", choices=VECTORS, help="format of the figure besides PNG, for papers")
    given = parser.parse_args(args)
    try:
        report_comparison(given.runs, given.error, given.out, given.vector)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def report_comparison(runs: Sequence[str], error: str, out: Path, vector: str | None = None) -> None:
    """Print the table of runs and studies, and write it with a figure.

    Args:
        runs: folders of runs or studies, or `NAME=FOLDER`.
        error: error to compare.
        out: folder of the table and the figure.
        vector: format of the figure besides PNG: `pdf`, `svg`, or None.

    Raises:
        InputError: if a run cannot be read, no run has the error, or the results cannot be written.
    """
    results = compare_runs(runs)
    layout = layout_of(results, error, compared=True)
    if error not in layout.errors:
        raise InputError(f"--error {error} is unknown; choose one of {', '.join(layout.errors)}")
    console = Console(width=None if sys.stdout.isatty() else 200)
    written = [out / name for name in ("table.md", "table.csv", "table.tex")]
    written += copies(out / "figure.png", vector)
    try:
        console.print(screen_table(results, layout))
        console.print(footnote(results, layout), markup=False, soft_wrap=True)
    finally:  # printing may fail if the pipe is closed, as with `| head`
        save_text(written[0], markdown(results, layout))
        save_text(written[1], comma_separated(results, layout))
        save_text(written[2], latex_table(results, layout))
        for path in written[3:]:
            draw_rows(results, path, (error, "abs_rel" if error == "delta1" else "delta1"))
    console.print("written:")
    for path in written:
        console.print(f"  {path}", soft_wrap=True, markup=False)


def compare_runs(runs: Sequence[str]) -> Results:
    """Return the rows of runs and studies, each with its difference to the first row of the same test set.

    Args:
        runs: folders of runs or studies, or `NAME=FOLDER`.

    Raises:
        InputError: if a folder is neither a run nor a study, a file in it is broken, or there is only one row.
    """
    sources = read_sources(runs)
    entries: list[SourceRow] = []
    baselines: dict[str, dict[str, list[tuple[str, Scored]]]] = {}  # by alignment and name
    oracle: dict[str, Figures] = {}
    quoted: dict[str, Figures] = {}
    published: dict[str, Figures] = {}
    for source in sources:
        alone = len(sources) == 1
        models = [row for row in source.rows if not row.baseline]
        single = len({row.name for row in models}) == 1
        for row in models:
            name = row.name if alone else source.label if single else f"{source.label}: {row.name}"
            entries.append(row._replace(name=name))
            published[name] = source.published.get(row.name, {})
        for row in source.rows:
            if row.baseline:
                of_alignment = baselines.setdefault(row.members[0].alignment, {})
                of_alignment.setdefault(row.name, []).extend((source.label, scored) for scored in row.members)
        for name, figures in source.oracle.items():
            differs = name in oracle and oracle[name] != figures
            oracle[f"{name}, {source.label}" if differs else name] = figures
        quoted.update(source.quoted)
    if len({row.name for row in entries}) < 2:
        raise InputError(f"{' '.join(runs)} has only one row; give at least two runs, or a study")
    for of_alignment in baselines.values():
        entries += [SourceRow(name, True, tuple(members)) for name, members in distinct_baselines(of_alignment)]
    # rows are grouped by test set, below the row that they are compared with
    sets = list(dict.fromkeys(row.members[0].test_set for row in entries))
    entries.sort(key=lambda row: sets.index(row.members[0].test_set))
    return Results("", make_rows(entries, published), oracle, quoted, [], {})


def read_sources(runs: Sequence[str]) -> list[Source]:
    """Read runs and studies; the default name of each is its path without the first folders that all paths share.

    Raises:
        InputError: if a folder is neither a run nor a study, a file in it is broken, or two have the same name.
    """
    named = [split_name(run) for run in runs]
    labels = labels_of([path for _, path in named])
    sources: list[Source] = []
    for (name, path), label in zip(named, labels, strict=True):
        label = name or label
        if any(source.label == label for source in sources):
            raise InputError(f"{path}: two runs are named {label}; give each once, or a name as in first={path}")
        sources.append(read_source(label, path))
    return sources


def split_name(run: str) -> tuple[str, Path]:
    """Split `NAME=FOLDER` into name and folder; the name is "" if there is none."""
    name, equals, folder = run.partition("=")
    return (name, Path(folder)) if equals and name and folder and not Path(run).exists() else ("", Path(run))


def labels_of(paths: Sequence[Path]) -> list[str]:
    """Return the paths without the first folders that all paths share."""
    shared = 0
    parts = [path.parts or (".",) for path in paths]
    while len(paths) > 1 and len({part[: shared + 1] for part in parts}) == 1 and shared + 1 < min(map(len, parts)):
        shared += 1
    return [str(Path(*part[shared:])) for part in parts]


def read_source(label: str, folder: Path) -> Source:
    """Read a run or a study.

    Raises:
        InputError: if the folder is neither a run nor a study, or a file in it is broken.
    """
    if (folder / RESULTS).is_file():
        return read_study(label, folder)
    if not (folder / METRICS).is_file():
        below = sorted(path.parent for path in folder.glob(f"*/{METRICS}")) if folder.is_dir() else []
        hint = f"give one of the runs in it, such as {below[-1]}" if below else "give a finished run or study"
        raise InputError(f"{folder} is the folder of neither a run ({METRICS}) nor a study ({RESULTS}); {hint}")
    run = read_run(folder)
    rows = [
        SourceRow(name, name not in run.metrics["figures"], (scored,))
        for of_alignment in (run.scored, *run.aligned.values())
        for name, scored in of_alignment.items()
    ]
    best = run.metrics["baselines"].get(BEST_CONSTANT)
    return Source(label, rows, {ORACLE: best} if best else {}, run.metrics["published"], {})


def read_study(label: str, folder: Path) -> Source:
    """Read the rows of a study.

    Raises:
        InputError: if a file is broken, or results.json and errors.npz have different rows.
    """
    results = read_object(folder / RESULTS, ["rows", "oracle", "published"])
    members: dict[tuple[str, str], list[Scored]] = {}
    number = 0
    while (path := scores_path(folder, number)).is_file() or number == 0:
        for name, scored in read_scores(path, ""):
            members.setdefault((name, scored.alignment), []).append(scored)
        number += 1
    described = results["rows"]
    if not isinstance(described, dict) or {name for name, _ in members} != set(described):
        raise InputError(
            f"{folder / RESULTS} and {scores_path(folder, 0)} have different rows; give the "
            "study again with --resume, which writes both"
        )
    try:
        rows = [
            SourceRow(
                name,
                bool(row["baseline"]),
                tuple(replace(scored, data=str(row["data"])) for scored in of_row),
            )
            for name, row in described.items()
            for (of_name, _), of_row in members.items()
            if of_name == name
        ]
        published = {name: dict(row["published"]) for name, row in described.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / RESULTS} lacks {error} of a row; use --resume to write it again") from error
    return Source(label, rows, results["oracle"], results["published"], published)
