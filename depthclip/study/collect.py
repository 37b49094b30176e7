"""Collect the results of a study: rows with intervals and paired differences to the first row of the same test set."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from depthclip.errors import InputError
from depthclip.evaluation.bootstrap import (
    Interval,
    Scored,
    TestSet,
    columns_of,
    draw_means,
    holm,
    intervals,
    mean_errors,
    p_values,
    units_of,
)
from depthclip.evaluation.metrics import ERRORS, higher_is_better
from depthclip.study.files import Figures, read_object, read_run
from depthclip.study.plan import FINISHED, Pass, StudyError

BEST_CONSTANT = "best constant (oracle)"  # in metrics.json
ORACLE = "best constant for each error (oracle)"
HEADLINE = ("abs_rel", "delta1")
LEVEL = 0.05
BETTER, WORSE, UNCLEAR = "better", "worse", "no clear difference"


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        name: name of the row.
        baseline: whether the row is a baseline.
        scored: errors, one entry for each seed.
        figures: mean over images and seeds, by error; a further figure that is defined for no image is missing.
        reference: name of the row that this row is compared with, "" for the first row of a test set.
        difference: difference to the reference, by error; empty without a reference.
        p: two-sided p-values of the difference, by error; empty without a reference.
        published: figures of a paper, by error.
    """

    name: str
    baseline: bool
    scored: tuple[Scored, ...]
    figures: dict[str, Interval]
    reference: str
    difference: dict[str, Interval]
    p: dict[str, float]
    published: Mapping[str, float]

    @property
    def test_set(self) -> TestSet:
        """The test set with its alignment; only rows of the same test set are compared or share an axis."""
        return self.scored[0].test_set

    @property
    def key(self) -> tuple[str, str]:
        """The name and the alignment, which together are unique in a table."""
        return self.name, self.test_set.alignment

    @property
    def further(self) -> dict[str, bool]:
        """The further figures, and whether the larger of each is the better."""
        higher = {name for scored in self.scored for name in scored.higher}
        return {name: name in higher for name in self.figures if name not in ERRORS}

    @property
    def verdict(self) -> str:
        """The verdict on abs_rel; see `verdict_of`."""
        return self.verdict_of("abs_rel")

    def verdict_of(self, error: str) -> str:
        """Return whether an error is better or worse than that of the reference, or not clearly different.

        Args:
            error: name of the error.

        Returns:
            `better` or `worse` if the interval of the difference excludes 0, else `no clear difference`; "" for a row
            without a reference, or without this error.
        """
        if error not in self.difference:
            return ""
        change = self.difference[error]
        if change.low <= 0 <= change.high:
            return UNCLEAR
        larger_is_better = higher_is_better(error) or self.further.get(error, False)
        return BETTER if (change.low > 0) == larger_is_better else WORSE


@dataclass(frozen=True)
class Results:
    """The results of a study.

    Args:
        question: question of the study.
        rows: rows of the variants, then of the baselines; then the same rows in each further alignment.
        oracle: best value that a constant depth reaches, by row and error; it has no errors of single images.
        published: figures that the recipes quote, by row.
        runs: for each run its variants, folder, seconds, seed, and the recipe and versions in its metrics.json.
        failed: reasons of the variants that could not be scored, by variant.
    """

    question: str
    rows: list[Row]
    oracle: dict[str, Figures]
    published: dict[str, Figures]
    runs: list[dict[str, Any]]
    failed: dict[str, str]

    @property
    def unit(self) -> str:
        """The unit of the bootstrap: `images`, `scenes`, or both if the test sets have different units."""
        return " and ".join(sorted({units_of(row.scored[0])[0] for row in self.rows}))

    def find(self, name: str) -> Row | None:
        """Return the row with a name in the alignment of its protocol, or None if there is none."""
        return next((row for row in self.rows if row.name == name), None)

    def test_sets(self) -> list[list[Row]]:
        """Return the rows of each test set, in the order of the rows."""
        sets: dict[TestSet, list[Row]] = {}
        for row in self.rows:
            sets.setdefault(row.test_set, []).append(row)
        return list(sets.values())

    @property
    def alignments(self) -> tuple[str, ...]:
        """The alignments of the rows, in their order."""
        return tuple(dict.fromkeys(row.test_set.alignment for row in self.rows))

    @property
    def further(self) -> dict[str, bool]:
        """The further figures of all rows, and whether the larger of each is the better."""
        return {name: higher for row in self.rows for name, higher in row.further.items()}

    def corrected(self, error: str) -> dict[tuple[str, str], float]:
        """Return the p-values of all differences in an error, with Holm's correction, by name and alignment."""
        compared = [row for row in self.rows if error in row.p]
        return dict(zip((row.key for row in compared), holm([row.p[error] for row in compared]), strict=True))


def collect(question: str, passes: Sequence[Pass], failed: dict[str, str]) -> Results:
    """Return the results of passes that finished.

    Args:
        question: question of the study.
        passes: passes that finished.
        failed: reasons of the variants that could not be scored, by variant.

    Raises:
        InputError: if a file is broken, two rows have the same name, or the variants of a row cannot be averaged.
    """
    rows: dict[str, list[Scored]] = {}
    baselines: dict[str, list[tuple[str, Scored]]] = {}
    aligned: dict[str, dict[str, list[Scored]]] = {}  # of the rows, by further alignment
    aligned_baselines: dict[str, dict[str, list[tuple[str, Scored]]]] = {}
    published: dict[str, Mapping[str, float]] = {}
    best: dict[TestSet, tuple[str, Figures]] = {}
    quoted: dict[str, Figures] = {}
    runs = []
    for image_pass in passes:
        run = read_run(image_pass.folder)
        for variant in image_pass.variants:
            row = variant.row or variant.name
            rows.setdefault(row, []).append(run.scored[image_pass.row_of(variant)])
            for alignment, scored in run.aligned.items():
                aligned.setdefault(alignment, {}).setdefault(row, []).append(scored[image_pass.row_of(variant)])
            published[row] = variant.published
        first = image_pass.variants[0]
        where = first.on or first.row or first.name
        for name in run.metrics["baselines"]:
            if name in run.scored:
                baselines.setdefault(name, []).append((where, run.scored[name]))
                for alignment, scored in run.aligned.items():
                    of_alignment = aligned_baselines.setdefault(alignment, {})
                    of_alignment.setdefault(name, []).append((where, scored[name]))
        test_set = run.scored["head"].test_set
        if BEST_CONSTANT in run.metrics["baselines"]:
            best.setdefault(test_set, (where, run.metrics["baselines"][BEST_CONSTANT]))
        quoted.update(run.metrics["published"])
        runs.append(
            {
                "variants": [variant.name for variant in image_pass.variants],
                "folder": str(image_pass.folder),
                "seconds": read_object(image_pass.folder / FINISHED, ["seconds"])["seconds"],
                "seed": image_pass.recipe["seed_everything"],
                **{key: run.metrics.get(key) for key in ("images", "skipped", "data", "recipe", "versions", "commit")},
            }
        )
    parts = [(rows, baselines), *((aligned[each], aligned_baselines.get(each, {})) for each in aligned)]
    entries: list[tuple[str, bool, list[Scored]]] = []
    for of_rows, of_baselines in parts:
        entries += [(name, False, members) for name, members in of_rows.items()]
        entries += [(name, True, members) for name, members in distinct_baselines(of_baselines)]
    oracle = {f"{ORACLE}, {name}" if len(best) > 1 else ORACLE: figures for name, figures in best.values()}
    return Results(question, make_rows(entries, published), oracle, quoted, runs, failed)


def distinct_baselines(
    baselines: Mapping[str, Sequence[tuple[str, Scored]]],
) -> Iterable[tuple[str, list[Scored]]]:
    """Yield the distinct versions of each baseline, named after the first row of each if there are several.

    Baselines differ if rows were scored on different images, or if baselines were fitted to different images, such as
    few shots.

    Args:
        baselines: for each baseline, the rows that were scored in the same pass, with the errors of the baseline.
    """
    for name, members in sorted(baselines.items()):
        by_row: dict[str, list[Scored]] = {}
        for row, scored in members:
            by_row.setdefault(row, []).append(scored)
        kept: dict[str, list[Scored]] = {}
        for row, scored_of_row in by_row.items():
            seeds = scored_of_row[:1] if all(x.agrees(scored_of_row[0]) for x in scored_of_row) else scored_of_row
            known = (other for other in kept.values() if len(other) == len(seeds))
            if not any(all(x.agrees(y) for x, y in zip(seeds, other, strict=True)) for other in known):
                kept[row] = seeds
        yield from ((name if len(kept) == 1 else f"{name}, {row}", seeds) for row, seeds in kept.items())


def make_rows(
    entries: Iterable[tuple[str, bool, Sequence[Scored]]],
    published: Mapping[str, Mapping[str, float]],
) -> list[Row]:
    """Return rows, each compared with the first row of the same test set.

    Args:
        entries: name of each row, whether it is a baseline, and its errors for each seed.
        published: published figures, by row.

    Raises:
        InputError: if two rows have the same name and alignment, or the seeds of a row were scored on different test
            sets.
    """
    rows: list[Row] = []
    for name, baseline, members in entries:
        test_set = members[0].test_set
        if any(row.key == (name, test_set.alignment) for row in rows):
            raise InputError(f"two rows are named {name}; choose another name for one of them")
        if any(scored.test_set != test_set for scored in members):
            raise StudyError(f"row {name}: its variants were scored on different images; give them different rows")
        reference = next((row for row in rows if row.test_set == test_set), None)
        rows.append(make_row(name, baseline, members, reference, published.get(name, {})))
    return rows


def make_row(
    name: str, baseline: bool, members: Sequence[Scored], reference: Row | None, published: Mapping[str, float]
) -> Row:
    """Return a row with intervals and paired differences to a reference.

    Args:
        name: name of the row.
        baseline: whether the row is a baseline.
        members: errors, one entry for each seed.
        reference: row of the same test set, or None.
        published: published figures of the row, by error.
    """
    columns = columns_of(members)
    drawn, means = draw_means(members), mean_errors(members)
    difference, p = {}, {}
    if reference is not None:
        others = columns_of(reference.scored)
        shared = tuple(column for column in columns if column in others)
        here, there = [columns.index(column) for column in shared], [others.index(column) for column in shared]
        change = drawn[:, here] - draw_means(reference.scored)[:, there]
        difference = intervals(means[here] - mean_errors(reference.scored)[there], change, shared)
        p = {column: value for column, value in p_values(change, shared).items() if column in difference}
    versus = reference.name if reference is not None else ""
    return Row(name, baseline, tuple(members), intervals(means, drawn, columns), versus, difference, p, published)
