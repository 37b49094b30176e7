"""Read the rows of metrics.json."""

from collections.abc import Iterator
from typing import Any

from depthclip.evaluation.evaluation import BEST_CONSTANT

Rows = dict[str, dict[str, float]]


def by_alignment(metrics: dict[str, Any]) -> Iterator[tuple[str, Rows, Rows]]:
    """Yield each alignment with the rows of the model and of the baselines.

    Args:
        metrics: content of metrics.json.
    """
    yield metrics["alignment"], metrics["figures"], metrics["baselines"]
    for alignment, rows in metrics["aligned"].items():
        heads = {name: row for name, row in rows.items() if name in metrics["figures"]}
        yield alignment, heads, {name: row for name, row in rows.items() if name not in heads}


def alignment_of(name: str, alignment: str) -> str:
    """Return the alignment of a row: `none` for the best constant, which no alignment changes.

    Args:
        name: name of the row.
        alignment: alignment of the rows beside it.
    """
    return "none" if name == BEST_CONSTANT else alignment


def plain_table(metrics: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and the rows of a table with all figures, None where a row has none.

    Args:
        metrics: content of metrics.json.
    """
    entries: list[tuple[str, str | None, dict[str, float]]] = [
        (name, alignment_of(name, alignment), row)
        for alignment, *parts in by_alignment(metrics)
        for rows in parts
        for name, row in rows.items()
    ]
    entries += [(name, None, row) for name, row in metrics["published"].items()]
    errors = list(dict.fromkeys(error for _, _, row in entries for error in row))
    return ["row", "alignment", *errors], [[name, how, *map(row.get, errors)] for name, how, row in entries]
