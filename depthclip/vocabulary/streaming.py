"""Scores of words for image sets whose features do not fit into memory."""

from collections.abc import Iterable

import numpy as np

from depthclip.errors import InputError
from depthclip.vocabulary.patches import Patches
from depthclip.vocabulary.scores import BINS, Scores, correlations_by_image, information_of

STEPS = 64  # of similarity and of depth; four steps make a bin of the mutual information
WORDS = 512  # words whose similarities with a batch of images are in memory at a time


class Histograms:
    """Joint histograms of the similarity of W words and depth, whose edges are quantiles of a sample.

    The memory is W x 64 x 64 counts of 4 bytes, whatever the number of images.

    Args:
        words: (W, D) float32, features of the words.
        sample: patches from which the edges are computed, as many as there is memory for.
    """

    def __init__(self, words: np.ndarray, sample: Patches) -> None:
        seen = ~np.isnan(sample.depth)
        shares = np.arange(1, STEPS) / STEPS
        self.words = words
        self.depth_edges = np.quantile(sample.depth[seen], shares)
        parts = [words[k : k + WORDS] @ sample.features[seen].T for k in range(0, len(words), WORDS)]
        self.edges = np.concatenate([np.quantile(part, shares, axis=1).T for part in parts]).astype(np.float32)
        self.counts = np.zeros((len(words), STEPS, STEPS), np.int32)
        self.within = np.zeros(len(words))
        self.images = np.zeros(len(words))

    def update(self, patches: Patches) -> None:
        """Add the patches of some images."""
        seen = ~np.isnan(patches.depth)
        depth = np.searchsorted(self.depth_edges, patches.depth[seen], side="right")
        for start in range(0, len(self.words), WORDS):
            similarity = self.words[start : start + WORDS] @ patches.features.T
            for row, values in enumerate(similarity[:, seen], start):
                places = np.searchsorted(self.edges[row], values, side="right") * STEPS + depth
                self.counts[row] += np.bincount(places, minlength=STEPS**2).reshape(STEPS, STEPS).astype(np.int32)
            by_image = correlations_by_image(similarity, patches)
            self.within[start : start + WORDS] += np.nansum(by_image, axis=1)
            self.images[start : start + WORDS] += (~np.isnan(by_image)).sum(1)

    def compute(self) -> Scores:
        """Return the scores.

        Raises:
            InputError: if no patch has a depth.
        """
        if not self.counts.any():
            raise InputError("no patch of the training images has a depth that counts; check the data and data.scoring")
        parts = [self.counts[k : k + WORDS].astype(np.float64) for k in range(0, len(self.counts), WORDS)]
        overall = np.concatenate([grouped_correlation(part) for part in parts])
        step = STEPS // BINS
        coarse = [part.reshape(-1, BINS, step, BINS, step).sum((2, 4)) for part in parts]
        with np.errstate(invalid="ignore"):
            within = self.within / self.images
        return Scores(overall, within, np.concatenate([information_of(part) for part in coarse]), np.empty(0))


def stream_scores(words: np.ndarray, sample: Patches, batches: Iterable[Patches]) -> Scores:
    """Return the scores of words from a stream of patches.

    The correlations within images are exact. Overall, values are replaced with one of 64 steps, whose edges are
    quantiles of the sample, and values of a step count as ties; the correlation of such ranks differs from the exact
    one by about 1e-3. The mutual information is that of 16 bins, of four steps each, which are of equal frequency as
    far as the sample represents the images.

    Args:
        words: (W, D) float32, features of the words.
        sample: patches that fit into memory.
        batches: patches of all images, a batch at a time.
    """
    histograms = Histograms(words, sample)
    for patches in batches:
        histograms.update(patches)
    return histograms.compute()


def grouped_correlation(counts: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of values that are known by their joint counts only, (W, B, C) to (W,)."""
    total = counts.sum((1, 2))
    sums = []
    for values in (counts.sum(2), counts.sum(1)):
        middle = values.cumsum(1) - values / 2 - total[:, None] / 2  # the mean rank of a step, less that of all
        sums.append((middle, np.sqrt((values * np.square(middle)).sum(1))))
    (x, x_norm), (y, y_norm) = sums
    with np.errstate(invalid="ignore"):
        return np.einsum("wbc,wb,wc->w", counts, x, y) / (x_norm * y_norm)
