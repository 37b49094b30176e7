"""Rank correlation and mutual information of the similarity of words with depth, exact."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from depthclip.vocabulary.patches import Patches

BINS = 16  # of similarity and of depth, for the mutual information
ELEMENTS = 2**22  # similarities of a chunk of words


class Scores(NamedTuple):
    """The scores of W words.

    Args:
        overall: (W,), Spearman's rank correlation of similarity and depth over all patches, with average ranks for
            ties; NaN if similarity or depth is constant.
        within: (W,), the mean over images of the correlation over the patches of an image, without the images in which
            it is not defined.
        information: (W,), the mutual information of similarity and depth in bits, see `mutual_information`.
        control: (R,), the largest absolute correlation of any word with each of R control depths.
    """

    overall: np.ndarray
    within: np.ndarray
    information: np.ndarray
    control: np.ndarray


def score_words(words: np.ndarray, patches: Patches, controls: Sequence[np.ndarray] = (), bins: int = BINS) -> Scores:
    """Return the exact scores of words; the similarities of a chunk of words are in memory at a time.

    Args:
        words: (W, D) float32, features of the words.
        patches: the patches, with features (P, D).
        controls: depths (P,) of which only the largest correlation is computed, such as those of other images.
        bins: number of bins of the mutual information along each axis.
    """
    chunk = max(1, ELEMENTS // len(patches.depth))
    parts = []
    for start in range(0, len(words), chunk):
        similarity = words[start : start + chunk] @ patches.features.T
        seen = ~np.isnan(patches.depth)
        ranks = rankdata(similarity[:, seen], axis=1)
        depth = rankdata(patches.depth[seen])
        overall = correlation(ranks, depth)
        information = mutual_information(bin_of(ranks, bins), bin_of(depth[None], bins)[0], bins)
        strength = np.abs(control_correlations(similarity, ranks, seen, controls))
        parts.append((overall, within_images(similarity, patches), information, strength))
    overall, within, information, control = (np.concatenate(each, axis=-1) for each in zip(*parts, strict=True))
    return Scores(overall, within, information, np.nanmax(control, axis=1))


def control_correlations(
    similarity: np.ndarray, ranks: np.ndarray, seen: np.ndarray, controls: Sequence[np.ndarray]
) -> np.ndarray:
    """Return the rank correlations of words with control depths, (R, W).

    Args:
        similarity: (W, P), the similarities.
        ranks: (W, S), their ranks among the patches with a depth.
        seen: (P,) bool, the S patches with a depth.
        controls: R depths (P,), NaN where there is none.
    """
    result = np.empty((len(controls), len(similarity)))
    known = [np.array_equal(~np.isnan(depth), seen) for depth in controls]
    if any(known):  # in one product
        depths = np.stack([rankdata(depth[seen]) for depth, same in zip(controls, known, strict=True) if same])
        result[known] = correlation(ranks, depths).T
    for row, (depth, same) in enumerate(zip(controls, known, strict=True)):
        if not same:
            here = ~np.isnan(depth)
            result[row] = correlation(rankdata(similarity[:, here], axis=1), rankdata(depth[here]))
    return result


def correlation(ranks: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each row of ranks with each depth; NaN where one of them is constant.

    Args:
        ranks: (W, P).
        depth: (P,) or (R, P).

    Returns:
        (W,) or (W, R).
    """
    x, y = ranks - ranks.mean(1, keepdims=True), depth - depth.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x @ y.T) / np.sqrt(np.multiply.outer(np.square(x).sum(1), np.square(y).sum(-1)))


def within_images(similarity: np.ndarray, patches: Patches) -> np.ndarray:
    """Return the mean over images of the rank correlations within an image, (W,)."""
    return mean_defined(correlations_by_image(similarity, patches))


def correlations_by_image(similarity: np.ndarray, patches: Patches) -> np.ndarray:
    """Return the rank correlation of each word within each image, (W, N); NaN where it is not defined."""
    columns = []
    for start, end in patches.bounds:
        depth = patches.depth[start:end]
        seen = ~np.isnan(depth)
        if seen.sum() < 2:
            columns.append(np.full(len(similarity), np.nan))
        else:
            columns.append(correlation(rankdata(similarity[:, start:end][:, seen], axis=1), rankdata(depth[seen])))
    return np.stack(columns, axis=1)


def mean_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean of each row (W, N) over the values that are not NaN; NaN if there is none."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(1) / defined.sum(1)


def bin_of(ranks: np.ndarray, bins: int) -> np.ndarray:
    """Return the equal-frequency bin of each value from its average rank (W, P); equal values share a bin."""
    return np.minimum((ranks - 0.5) * bins / ranks.shape[1], bins - 1).astype(np.int64)


def mutual_information(similarity: np.ndarray, depth: np.ndarray, bins: int) -> np.ndarray:
    """Return the mutual information of binned similarities (W, P) and binned depth (P,), (W,) bits."""
    offset = np.arange(len(similarity))[:, None] * bins**2
    counts = np.bincount((similarity * bins + depth + offset).ravel(), minlength=len(similarity) * bins**2)
    return information_of(counts.reshape(-1, bins, bins))


def information_of(counts: np.ndarray) -> np.ndarray:
    """Return the mutual information of joint counts (W, B, C) in bits, H(X) + H(Y) - H(X, Y).

    Each entropy has the correction of Miller and Madow: (occupied bins - 1) / 2N nats are added to the estimate. The
    correction assumes independent samples; patches of an image are not, so that small values remain too large.
    """
    across, along = counts.sum(2), counts.sum(1)
    return entropy(across) + entropy(along) - entropy(counts.reshape(len(counts), -1))


def entropy(counts: np.ndarray) -> np.ndarray:
    """Return the entropy of each row of counts (W, B) in bits, with the correction of Miller and Madow."""
    total = counts.sum(1)
    share = counts / total[:, None]
    plain = -np.where(share > 0, share * np.log2(np.where(share > 0, share, 1)), 0).sum(1)
    return plain + ((counts > 0).sum(1) - 1) / (2 * total * np.log(2))


def rotated_maxima(words: np.ndarray, patches: Patches, marked: int, top: int, draws: int) -> list[tuple[float, int]]:
    """Return the largest correlation of rotated lists, and how many of the first words are among their leading ones.

    A random rotation of all features keeps the angles between words and moves them against the images.

    Args:
        words: (W, D), features of the words.
        patches: the patches.
        marked: number of words at the start of the list to count.
        top: number of leading words.
        draws: number of rotations.
    """
    found = []
    for seed in range(draws):
        rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(words.shape[1],) * 2))
        strength = np.nan_to_num(np.abs(overall_only((words @ rotation).astype(np.float32), patches)))
        leading = np.argsort(-strength, kind="stable")[:top]
        found.append((float(strength.max()), int((leading < marked).sum())))
    return found


def overall_only(words: np.ndarray, patches: Patches) -> np.ndarray:
    """Return Spearman's rank correlation of each word over all patches, (W,)."""
    seen = ~np.isnan(patches.depth)
    features, depth = patches.features[seen], rankdata(patches.depth[seen])
    chunk = max(1, ELEMENTS // len(depth))
    parts = [words[k : k + chunk] @ features.T for k in range(0, len(words), chunk)]
    return np.concatenate([correlation(rankdata(part, axis=1), depth) for part in parts])
