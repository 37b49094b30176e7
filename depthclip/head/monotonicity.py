"""Monotonicity of distance words: whether the similarities of their text features follow the order of the bins."""

import torch
from torch import Tensor

from depthclip.encoder.interfaces import TextEncoder
from depthclip.head.interfaces import Head

MOST_WORDS = 256  # the comparisons grow with the cube of the number of words


def word_monotonicity(head: Head, text: TextEncoder) -> float | None:
    """Return the monotonicity of the words of a head, see `monotonicity`, from the features that it compares.

    Args:
        head: a prepared head.
        text: the text tower.

    Returns:
        The monotonicity in [-1, 1], or None for a head with fewer than three words, without words, or with words that
        depend on the image.
    """
    with torch.no_grad():
        features = head.word_features(text)
    return None if features is None or len(features) < 3 else monotonicity(features)


def monotonicity(features: Tensor) -> float:
    """Return the rank correlation of the similarities of words with their distances in the order of the bins.

    For each word k, the other words on either side of it are compared in pairs (i, j), of which i is the nearer one. A
    pair has the score 1 if <t_k, t_i> > <t_k, t_j>, -1 if it is less, and 0 if both are equal. The result is the mean
    score of all pairs on the same side, n = K (K - 1) (K - 2) / 3 in number:

        1/n sum_k [ sum_{k < i < j} sign(<t_k, t_i> - <t_k, t_j>) + sum_{j < i < k} sign(<t_k, t_i> - <t_k, t_j>) ]

    This is the mean of Kendall's tau over the words and their two sides, weighted by the number of pairs. It is 1 if
    and only if the similarities fall in each row of their matrix (K, K) on both sides of the diagonal, for any
    spacing of the words; such a matrix is a Robinson matrix with distinct values. Features in random order have 0 on
    average. Reversing the order of the words does not change the value.

    Args:
        features: (K, D), unit length, in the order of the bins, with K at least 3. If there are more than 256 words,
            256 of them at equal steps are used.
    """
    if len(features) > MOST_WORDS:
        features = features[torch.linspace(0, len(features) - 1, MOST_WORDS).round().long()]
    values = features.detach().double().cpu()
    similarities = values @ values.T
    # the similarities of each word with the others on one side, nearest first
    sides = [side for k, row in enumerate(similarities) for side in (row[k + 1 :], row[:k].flip(0))]
    scores = torch.cat([falls(side) for side in sides])
    return scores.mean().item()


def falls(values: Tensor) -> Tensor:
    """Return the sign of v_i - v_j for all pairs i < j of values (n,), (n (n - 1) / 2,)."""
    first, second = torch.triu_indices(len(values), len(values), 1)
    return (values[first] - values[second]).sign()
