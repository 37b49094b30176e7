"""Checks of the words by their text features: are they different, and does their order fit bins that ascend?"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from depthclip.errors import InputError

SAME = 1e-6  # features of one token sequence differ by less, those of different ones by far more
# share of the variance along one direction from which features lie on a line: random ones of four words reach .47 at
# most, the named sets on the bundled CLIP .56 at least
ON_A_LINE = 0.5


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
    """Return the order of the words along the line of their text features if the given order contradicts it, or None.

    An order fits if words are the less similar the more places lie between them. The given order contradicts the
    features if this is reversed: if Spearman's rank correlation of |i - j| with the cosine distance of words i and j,
    over all pairs, is negative. The features lie on a line if their first principal component has at least half of
    their variance; otherwise they know no order, and nothing is returned.

    This detects about half of all mixed orders. It cannot detect a reversed order, which has the same similarities, nor
    bins that do not suit the words, nor a few words out of place. Only 4 to 256 words are judged.

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
    """Return the rank correlation of the distances (K, K) of words with the places between them."""
    from scipy.stats import spearmanr  # slow to import

    one, other = np.triu_indices(len(distances), 1)
    between = distances[one, other]
    return 0.0 if np.ptp(between) == 0 else float(spearmanr(other - one, between).statistic)
