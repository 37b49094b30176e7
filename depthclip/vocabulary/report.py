"""Write the scores of words: table.csv with all words, table.md with the leading ones and the controls."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depthclip.evaluation.bootstrap import Interval
from depthclip.study.files import save_text
from depthclip.vocabulary.scores import Scores

HEAD = "| rank | word | | ρ over all patches | ρ within images | bits |\n| ---: | --- | --- | --- | --- | ---: |"


def leading_of(scores: Scores, count: int) -> list[int]:
    """Return the indices of the words at both ends of the axis, near to far: `count` at each end."""
    overall = np.nan_to_num(scores.overall)
    order = np.argsort(overall, kind="stable").tolist()
    return list(dict.fromkeys([*order[:count], *order[-count:]]))


def save_report(
    out: Path,
    words: Sequence[str],
    marked: int,
    scores: Scores,
    leading: Sequence[int],
    intervals: Sequence[tuple[Interval, Interval]],
    notes: str,
) -> list[Path]:
    """Write table.md and table.csv, and return their paths.

    Args:
        out: folder of the results.
        words: all words.
        marked: number of distance words at the start of the list.
        scores: scores of all words.
        leading: indices of the words of table.md, near to far.
        intervals: overall and within-image correlation of the leading words.
        notes: Markdown below the table, such as the controls.
    """
    ranks = np.argsort(np.argsort(-np.nan_to_num(np.abs(scores.overall)), kind="stable"), kind="stable") + 1
    lines = [
        f"| {ranks[k]} | {words[k]} | {'distance word' if k < marked else ''} | {signed(overall)} | {signed(within)} | "
        f"{scores.information[k]:.2f} |"
        for k, (overall, within) in zip(leading, intervals, strict=True)
    ]
    table = "\n".join([HEAD, *lines])
    paths = [out / "table.md", out / "table.csv"]
    save_text(paths[0], f"{table}\n\n{notes}\n")
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["word", "distance_word", "rank", "spearman", "spearman_within_images", "mutual_information_bits"])
    columns = (words, ranks.tolist(), scores.overall, scores.within, scores.information)
    for k, (word, rank, *values) in enumerate(zip(*columns, strict=True)):
        writer.writerow([word, k < marked, rank, *(f"{value:.6f}" for value in values)])
    save_text(paths[1], file.getvalue())
    return paths


def signed(interval: Interval) -> str:
    """Return an interval as text, with the sign of its value."""
    return f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def describe_controls(
    words: Sequence[str], marked: int, scores: Scores, rotated: Sequence[tuple[float, int]], top: int
) -> str:
    """Return the null distributions of the largest correlation as Markdown.

    Args:
        words: all words.
        marked: number of distance words at the start of the list.
        scores: scores, with the largest correlations of the control depths.
        rotated: for each rotated list, its largest correlation and its number of leading distance words.
        top: number of leading words that were counted.
    """
    strength = np.nan_to_num(np.abs(scores.overall))
    count = int((np.argsort(-strength, kind="stable")[:top] < marked).sum())
    other = percentiles(scores.control)
    p = (1 + int((scores.control >= strength.max()).sum())) / (1 + len(scores.control))
    maxima, counts = zip(*rotated, strict=True)
    return "\n".join(
        [
            f"**Largest absolute ρ among {len(words)} words**",
            "",
            f"| | draws | median | 95th percentile | largest | distance words among the leading {top} |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            f"| the words | | {strength.max():.3f} | | {strength.max():.3f} | {count} of {marked} |",
            f"| depth of another image, p = {p:.3f} | {len(scores.control)} | {other} | |",
            f"| words rotated against the images | {len(rotated)} | {percentiles(np.array(maxima))} | "
            f"{np.mean(counts):.1f} on average |",
        ]
    )


def percentiles(values: np.ndarray) -> str:
    """Return the median, the 95th percentile and the largest of values as cells of a table."""
    return f"{np.median(values):.3f} | {np.percentile(values, 95):.3f} | {values.max():.3f}"
