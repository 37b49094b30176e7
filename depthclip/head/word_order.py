"""Checks of the words by their text features: are they different, and does their order fit bins that ascend?"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from depthclip.errors import InputError

SAME = 1e-6  # features of one token sequence differ by less, those of different ones by far more
ORDERED = 0.5  # rank correlation from which text features are taken to know an order


def check_distinct(name: str, labels: Sequence[str], features: Tensor, where: str) -> None:
    """Raise if two labels have the same feature, so that no image could be nearer to one than to the other.

    Tokenizers drop case, spaces and rare characters, and cut long sentences.

    Args:
        name: name of the argument that holds the labels.
        labels: K texts.
        features: (K, ...), the feature of each.
        where: the sentences in which the labels stand, for the message.

    Raises:
        InputError: naming two labels.
    """
    flat = features.detach().float().flatten(1)
    order = flat.sum(1).argsort()  # equal features have equal sums, and so are neighbours
    same = (flat[order[1:]] - flat[order[:-1]]).abs().amax(1) < SAME
    if same.any():
        k = int(same.int().argmax())
        one, other = sorted((int(order[k]), int(order[k + 1])))
        raise InputError(
            f"{name} {labels[one]!r} and {labels[other]!r} are the same to the text tower in the {where}; use {name} "
            "that differ in letters or digits, in sentences that fit its context"
        )


def better_order(features: Tensor) -> list[int] | None:
    """Return an order that fits the text features of the words much better than the given one, or None.

    An order fits if words are the less similar the more places lie between them: its score is Spearman's rank
    correlation of |i - j| with the cosine distance of words i and j, over all pairs. The other order is that of the
    words along the first principal component of their features, provided that the features know any order at all
    (its score is at least 0.5) and that the given order has none of it (its score is negative).

    This detects words in a mixed order. It cannot detect a reversed order, which has the same similarities, nor bins
    that do not suit the words, nor a few words out of place. Only 4 to 256 words are judged.

    Args:
        features: (K, D), unit length, in the order of the bins.
    """
    if not 4 <= len(features) <= 256:
        return None
    values = features.detach().double().cpu()
    centred = values - values.mean(0)
    along = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[0]
    order = along.argsort().tolist()
    distances = (1 - values @ values.T).numpy()
    if fit(distances) < 0 and fit(distances[np.ix_(order, order)]) >= ORDERED:
        return order
    return None


def fit(distances: np.ndarray) -> float:
    """Return the rank correlation of the distances (K, K) of words with the places between them."""
    from scipy.stats import spearmanr  # slow to import

    one, other = np.triu_indices(len(distances), 1)
    between = distances[one, other]
    return 0.0 if np.ptp(between) == 0 else float(spearmanr(other - one, between).statistic)
