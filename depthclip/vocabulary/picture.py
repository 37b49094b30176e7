"""Draw the two ends of the axis of words, and maps of the similarity of a few words on an image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthclip.study.pictures import save_figure
from depthclip.vocabulary.patches import Patches

MAPS = 5
NEAR, FAR, OTHER = "tab:orange", "tab:blue", "0.55"


def draw_words(
    path: Path,
    words: Sequence[str],
    distance: Sequence[bool],
    spans: Sequence[tuple[float, float, float]],
    everything: np.ndarray,
    chance: float,
    patches: Patches,
) -> None:
    """Draw the leading words with their correlations, the distribution of all words, and maps of an image.

    Args:
        path: file of the picture.
        words: the leading words, near to far.
        distance: whether each is a distance word.
        spans: correlation of each with the bounds of its interval.
        everything: (W,), the correlations of all words.
        chance: largest correlation with the depth of other images, drawn as a band.
        patches: patches whose features (P, L) are the similarities with the leading words; the middle image is drawn.
    """
    figure = Figure(figsize=(10, 1.6 + 0.21 * len(words) + 2.1), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.6 + 0.21 * len(words), 2.1])
    top, main = upper.subplots(2, 1, sharex=True, height_ratios=[1, 0.24 * len(words)])
    top.hist(everything[~np.isnan(everything)], 80, (-1, 1), color=OTHER)
    top.set_ylabel("words")
    top.set_title(f"Spearman's ρ of similarity and depth: all {len(everything)} words, and the ends of the axis", fontsize=10)
    draw_axis(main, words, distance, spans)
    for axis in (top, main):
        axis.axvspan(-chance, chance, color="0.9", zorder=0)
        axis.set_xlim(-1.02, 1.02)
    draw_maps(lower.subplots(1, MAPS + 1), words, patches)
    save_figure(figure, path)


def draw_axis(
    axis: Axes, words: Sequence[str], distance: Sequence[bool], spans: Sequence[tuple[float, float, float]]
) -> None:
    """Draw the leading words beside their intervals; distance words are bold."""
    for place, (word, of_distance, (value, low, high)) in enumerate(zip(words, distance, spans, strict=True)):
        colour = NEAR if value < 0 else FAR
        axis.plot([low, high], [place, place], color=colour, lw=1.5)
        axis.plot(value, place, "o", color=colour, ms=5 if of_distance else 4, mfc=colour if of_distance else "white")
        beside = {"ha": "left", "x": high + 0.02} if value < 0 else {"ha": "right", "x": low - 0.02}
        text = f"{word}  {value:+.2f}" if value < 0 else f"{value:+.2f}  {word}"
        weight = "bold" if of_distance else "normal"
        axis.text(beside["x"], place, text, ha=beside["ha"], va="center", fontsize=8, weight=weight, parse_math=False)
    axis.set_yticks([])
    axis.set_ylim(len(words) - 0.3, -0.7)
    axis.axvline(0, color="0.7", lw=0.8)
    axis.set_xlabel("← near    ρ, with 95 % intervals over images; filled: distance words; grey: other images' depth    far →")


def draw_maps(axes: np.ndarray, words: Sequence[str], patches: Patches) -> None:
    """Draw the depth of the middle image and the similarity of some words, evenly spread over the leading ones."""
    middle = len(patches.sizes) // 2
    (start, end), size = patches.bounds[middle], patches.sizes[middle]
    chosen = np.unique(np.linspace(0, len(words) - 1, MAPS).round().astype(int))
    maps = {"depth": patches.depth[start:end], **{words[k]: patches.features[start:end, k] for k in chosen}}
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, values) in zip(axes, maps.items(), strict=False):
        axis.imshow(values.reshape(size), cmap="viridis" if name != "depth" else "magma_r")
        axis.set_title(name, fontsize=9, parse_math=False)
