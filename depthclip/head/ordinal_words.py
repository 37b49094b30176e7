"""Ordered distance words, interpolated from a few learned words."""

from typing import Literal

import torch
from torch import Tensor

from depthclip.checks import check_choice, check_count
from depthclip.head.bins import MOST_BINS, Placement, shares
from depthclip.head.learned_words import LearnedWords

Interpolation = Literal["neighbours", "linear", "inverse"]
NEAREST_ANCHOR = 1e-30  # least distance to an anchor, so that a word at an anchor has its vectors, exactly in float32


class OrdinalWords(LearnedWords):
    """Distance words whose vectors are interpolated from M learned anchors (OrdinalCLIP, arXiv 2206.02338).

    Anchor j lies at a_j = j / (M - 1) and word k at x_k in [0, 1]. The vectors of word k are sum_j w_kj anchor_j. The
    weights of a word are at least 0 and sum to 1, and depend on its distances d_j = |x_k - a_j| to the anchors:

        neighbours    w_kj = max(0, 1 - (M - 1) d_j)
        linear        w_kj = (1 - d_j) / sum_i (1 - d_i)
        inverse       w_kj = (1 / d_j) / sum_i (1 / d_i)

    `linear` and `inverse` are the rules of OrdinalCLIP's code. `linear` gives weight to distant anchors too.
    `neighbours` interpolates linearly between the two anchors on either side, and is the same as `linear` for two
    anchors. With `neighbours` or `inverse` a word at an anchor has the vectors of the anchor.

    The parameters do not depend on K, so a checkpoint can be tested with another number of words and bins.

    Args:
        count: K, the number of words, one for each bin, from 2 to 10,000.
        anchors: M, the number of learned words, from 2 to 10,000; fewer than K in OrdinalCLIP.
        template: a sentence with `{distance}`, or `{distance:T}` for T vectors per word, and optionally `{context:M}`
            for M learned vectors that all words share.
        interpolation: `neighbours`, `linear` or `inverse`.
        placement: `ends` places the words at x_k = k / (K - 1), `centres` at x_k = (k + 1/2) / K. With the same
            placement in `LogBins`, x_k is the position of bin k in the range of log depth, in `LinearBins` that in the
            range of depth.
        centred: whether to subtract the mean over the words, as in `Prompts`.

    Raises:
        InputError: if a number is out of its range, the template is not valid, or the interpolation or the placement
            is unknown.
    """

    weights: Tensor  # (K, M)

    def __init__(
        self,
        count: int = 7,
        anchors: int = 3,
        template: str = "This object appears to be {distance}",
        interpolation: Interpolation = "neighbours",
        placement: Placement = "ends",
        centred: bool = False,
    ) -> None:
        check_count("anchors", anchors, at_least=2, at_most=MOST_BINS, unit="learned words")
        super().__init__(count, template, centred)
        self.learned = anchors
        weights = interpolation_weights(shares(count, placement), anchors, interpolation)
        self.register_buffer("weights", weights, persistent=False)

    def vectors(self) -> Tensor:
        """Return the interpolated vectors of the words, (K, T, W)."""
        assert self.tokens is not None
        with torch.autocast(self.tokens.device.type, enabled=False):
            return torch.einsum("km,mtw->ktw", self.weights, self.tokens)


def interpolation_weights(positions: list[float], anchors: int, interpolation: Interpolation) -> Tensor:
    """Return the weights of the anchors in each word, (K, M); each row sums to 1.

    Args:
        positions: K positions of words in [0, 1].
        anchors: M, the number of anchors at equal steps from 0 to 1.
        interpolation: the rule, see `OrdinalWords`.

    Raises:
        InputError: if the interpolation is unknown.
    """
    check_choice("interpolation", interpolation, ("neighbours", "linear", "inverse"))
    at = torch.arange(anchors, dtype=torch.float64) / (anchors - 1)
    distances = (torch.tensor(positions, dtype=torch.float64)[:, None] - at).abs()
    if interpolation == "neighbours":
        weights = (1 - (anchors - 1) * distances).clamp(min=0)
    elif interpolation == "linear":
        weights = 1 - distances
    else:
        weights = 1 / distances.clamp(min=NEAREST_ANCHOR)
    return (weights / weights.sum(1, keepdim=True)).float()
