"""Checks of distance words by their text features: the words must differ, and their order should fit the bins."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from depthclip.errors import InputError

SAME = 1e-6  # features of equal token sequences differ by less, features of different sequences by much more
# Least share of the variance along the first principal component of features on a line. Random features of four words
# have at most 0.47, the named sets on the bundled CLIP at least 0.56.
ON_A_LINE = 0.5


def check_distinct(name: str, labels: Sequence[str], features: Tensor, where: str) -> None:
    """Raise if two labels have the same feature, so that no image can distinguish them.

    This happens because tokenizers ignore case, spaces and rare characters, and cut long sentences.

    Args:
        name: name of the argument that holds the labels.
        labels: K texts.
        features: (K, ...), one feature for each label.
        where: the templates in which the labels were encoded, for the message.

    Raises:
        InputError: if two features are equal.
    """
    flat = features.detach().float().flatten(1)
    order = flat.sum(1).argsort()  # equal features have equal sums, so they are neighbours in this order
    same = (flat[order[1:]] - flat[order[:-1]]).abs().amax(1) < SAME
    if same.any():
        k = int(same.int().argmax())
        first, second = sorted((int(order[k]), int(order[k + 1])))
        raise InputError(
            f"{name} {labels[first]!r} and {labels[second]!r} have the same text feature in the {where}; use {name} "
            "that differ in letters or digits, in sentences that fit the context of the text tower"
        )


def better_order(features: Tensor) -> list[int] | None:
    """Return a better order of the words by their text features, or None if the given order is plausible.

    In a good order, the similarity of words i and j decreases with |i - j|. The given order is implausible if
    Spearman's rank correlation of |i - j| with the cosine distance of the words, over all pairs, is negative, and the
    features lie on a line, which means that their first principal component has at least half of their variance. The
    better order is that of the words along this component.

    The test detects about half of all mixed orders. It cannot detect a reversed order, which has the same similarities,
    bins that do not suit the words, or a few misplaced words. It applies to 4 to 256 words; other numbers give None.

    Args:
        features: (K, D), unit length, in the order of the bins.
    """
    if not 4 <= len(features) <= 256:
        return None
    values = features.detach().double().cpu()
    centred = values - values.mean(0)
    components = torch.linalg.svd(centred, full_matrices=False)
    variances = components.S.square()
    if variances[0] < ON_A_LINE * variances.sum() or rank_correlation((1 - values @ values.T).numpy()) >= 0:
        return None
    return (centred @ components.Vh[0]).argsort().tolist()


def rank_correlation(distances: np.ndarray) -> float:
    """Return the rank correlation of the distances (K, K) of words i and j with |i - j|."""
    from scipy.stats import spearmanr  # slow to import

    rows, columns = np.triu_indices(len(distances), 1)
    pairs = distances[rows, columns]
    return 0.0 if np.ptp(pairs) == 0 else float(spearmanr(columns - rows, pairs).statistic)
