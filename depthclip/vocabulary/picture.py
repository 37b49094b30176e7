"""Draw the two ends of the axis of words, and maps of the similarity of a few words on an image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthclip.evaluation.bootstrap import Interval
from depthclip.figure_files import copies
from depthclip.pictures.colours import DEPTH_MAP, WEIGHT_MAP
from depthclip.study.pictures import save_figure
from depthclip.vocabulary.patches import Patches
from depthclip.vocabulary.scores import Scores

MAPS = 5
NEAR, FAR, OTHER = "tab:orange", "tab:blue", "0.55"


def draw_words(
    path: Path,
    words: Sequence[str],
    marked: int,
    scores: Scores,
    leading: Sequence[int],
    intervals: Sequence[tuple[Interval, Interval]],
    patches: Patches,
    vector: str | None = None,
) -> None:
    """Draw the leading words with their correlations, the distribution of all words, and maps of an image.

    Args:
        path: file of the picture.
        words: all words.
        marked: number of distance words at the start of the list.
        scores: scores of all words, with the largest correlations of the control depths.
        leading: indices of the leading words, near to far.
        intervals: overall and within-image correlation of the leading words.
        patches: patches whose features (P, L) are the similarities with the leading words; the middle image is drawn.
        vector: format of the picture besides PNG: `pdf`, `svg`, or None.
    """
    everything, chance = scores.overall, scores.control.max()
    distance, overall = [k < marked for k in leading], [each for each, _ in intervals]
    words = [words[k] for k in leading]
    figure = Figure(figsize=(10, 1.6 + 0.21 * len(words) + 2.1), layout="constrained")
    upper, lower = list(figure.subfigures(2, 1, squeeze=False, height_ratios=[1.6 + 0.21 * len(words), 2.1]).flat)
    top, main = upper.subplots(2, 1, sharex=True, height_ratios=[1, 0.24 * len(words)])
    top.hist(everything[~np.isnan(everything)], 80, (-1, 1), color=OTHER)
    top.set_ylabel("words")
    top.set_title(f"Similarity and depth: all {len(everything)} words, and both ends of the axis", fontsize=10)
    draw_axis(main, words, distance, overall)
    for axis in (top, main):
        axis.axvspan(-chance, chance, color="0.9", zorder=0)
        axis.set_xlim(-1.02, 1.02)
    draw_maps(lower.subplots(1, MAPS + 1), words, patches)
    for each in copies(path, vector):
        save_figure(figure, each)


def draw_axis(axis: Axes, words: Sequence[str], distance: Sequence[bool], intervals: Sequence[Interval]) -> None:
    """Draw the leading words beside their intervals; distance words are bold."""
    for place, (word, of_distance, interval) in enumerate(zip(words, distance, intervals, strict=True)):
        value, low, high = interval.value, interval.low, interval.high
        colour = NEAR if value < 0 else FAR
        axis.plot([low, high], [place, place], color=colour, lw=1.5)
        axis.plot(value, place, "o", color=colour, ms=5 if of_distance else 4, mfc=colour if of_distance else "white")
        place_of_text, side = (high + 0.02, "left") if value < 0 else (low - 0.02, "right")
        text = f"{word}  {value:+.2f}" if value < 0 else f"{value:+.2f}  {word}"
        weight = "bold" if of_distance else "normal"
        axis.text(place_of_text, place, text, ha=side, va="center", fontsize=8, weight=weight, parse_math=False)
    axis.set_yticks([])
    axis.set_ylim(len(words) - 0.3, -0.7)
    axis.axvline(0, color="0.7", lw=0.8)
    axis.set_xlabel(
        "← near    Spearman's ρ, 95 % intervals; filled: distance words; grey: depth of other images    far →"
    )


def draw_maps(axes: np.ndarray, words: Sequence[str], patches: Patches) -> None:
    """Draw the depth of the middle image and the similarity of some words, evenly spread over the leading ones."""
    middle = len(patches.sizes) // 2
    (start, end), size = patches.bounds[middle], patches.sizes[middle]
    chosen = np.unique(np.linspace(0, len(words) - 1, MAPS).round().astype(int))
    maps = {"depth": patches.depth[start:end], **{words[k]: patches.features[start:end, k] for k in chosen}}
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, values) in zip(axes, maps.items(), strict=False):
        colours = DEPTH_MAP if name == "depth" else WEIGHT_MAP
        axis.imshow(values.reshape(size), cmap=colours, interpolation="nearest")
        axis.set_title(name, fontsize=9, parse_math=False)
