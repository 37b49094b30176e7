"""Bootstrap intervals over images for the correlations of a few words."""

import numpy as np
from scipy.stats import rankdata

from depthclip.evaluation.bootstrap import Interval
from depthclip.vocabulary.patches import Patches
from depthclip.vocabulary.scores import correlation, correlations_by_image, mean_defined

DRAWS = 500


def word_intervals(patches: Patches, draws: int = DRAWS, seed: int = 0) -> list[tuple[Interval, Interval]]:
    """Return for each word its overall and its mean within-image correlation with 95 % intervals.

    The bootstrap draws images with replacement, and ranks the patches of each draw anew.

    Args:
        patches: the patches, whose features (P, W) are similarities with W words.
        draws: number of draws.
        seed: seed of the draws.
    """
    images = len(patches.sizes)
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=draws)
    seen = ~np.isnan(patches.depth)
    owner = np.repeat(np.arange(images), [height * width for height, width in patches.sizes])[seen]
    values, depth = patches.features[seen].T, patches.depth[seen]
    overall = correlation(rankdata(values, axis=1), rankdata(depth))
    by_image = correlations_by_image(patches.features.T, patches)
    result = []
    for word, exact, of_images in zip(values, overall, by_image, strict=True):
        wide = resampled_correlations(word, depth, drawn[:, owner])
        defined = ~np.isnan(of_images)
        means = drawn[:, defined] @ of_images[defined] / np.maximum(drawn[:, defined].sum(1), 1)
        result.append((interval(exact, wide), interval(mean_defined(of_images[None])[0], means)))
    return result


def interval(value: float, drawn: np.ndarray) -> Interval:
    """Return a value with the central 95 % of its draws (R,)."""
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def resampled_correlations(values: np.ndarray, depth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of values and depth in each of R resampled sets, (R,).

    The ranks are those of the resampled set, in which a patch occurs as often as its weight says.

    Args:
        values: (P,), the values.
        depth: (P,), the depth.
        weights: (R, P), how often each patch occurs.
    """
    x, y = (rankdata(each, "dense").astype(np.int64) - 1 for each in (values, depth))
    result = []
    for weight in weights:
        ranks = []
        for groups in (x, y):
            counts = np.bincount(groups, weight)
            ranks.append((counts.cumsum() - counts / 2)[groups] - weight.sum() / 2)
        a, b = ranks
        result.append((weight * a * b).sum() / np.sqrt((weight * a * a).sum() * (weight * b * b).sum()))
    return np.array(result)
