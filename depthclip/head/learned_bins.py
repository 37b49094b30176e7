"""Bins that are learned by gradient descent, for all images or for each.

K + 1 gaps divide a range into cells, and the bins are the edges between the cells. The bins therefore ascend and stay
in the range for any values of the gaps:

    b_k = min_depth + (max_depth - min_depth) * (g_0 + ... + g_k),    g = softmax(gaps)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.checks import check_count
from depthclip.encoder.interfaces import TextEncoder
from depthclip.errors import InputError
from depthclip.head.bins import Bins, check_fitted, check_range
from depthclip.head.interfaces import unprepared
from depthclip.head.layers import zero_initialized


class LearnedBins(Bins):
    """Bins that `fit` learns, the same for all images.

    Args:
        start: bins before training: K depths in metres, the name of one of the paper's sets, or bins such as
            `LinearBins` and `FittedBins`.
        min_depth: lower bound of the bins in metres, positive.
        max_depth: upper bound of the bins in metres.

    Raises:
        InputError: if the start is not a set of bins, depends on the image, or does not lie in the range.
    """

    def __init__(
        self, start: Bins | Sequence[float] | str = "depthclip", min_depth: float = 1e-3, max_depth: float = 10.0
    ) -> None:
        check_range(2, min_depth, max_depth)
        first = start if isinstance(start, Bins) else Bins(start)
        if first.needs_pooled:
            raise InputError(f"start {type(first).__name__} depends on the image; use fixed or fitted bins")
        super().__init__(first.values.tolist())
        self.start = first
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.gaps = nn.Parameter(gaps_of(self.values, min_depth, max_depth))

    @property
    def needs_depths(self) -> bool:
        """Whether the start must be fitted to training depths."""
        return self.start.needs_depths

    def update(self, depth: Tensor, scene: str) -> None:
        """Add the depth map of one training image to the statistics of the start."""
        self.start.update(depth, scene)

    def compute(self) -> None:
        """Fit the start to the training depths if it needs them, and move the bins there."""
        if self.start.needs_depths:
            self.start.compute()
            with torch.no_grad():
                self.gaps.copy_(gaps_of(self.start.values, self.min_depth, self.max_depth))

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Return the learned depths in metres, (K,)."""
        check_fitted(self)
        return bins_from_gaps(self.gaps, self.min_depth, self.max_depth)


class ImageBins(LearnedBins):
    """Bins that a small network predicts for each image from its pooled feature.

    gaps(image) = gaps + net(pooled). The network has two layers and its output starts at zero, so all images have the
    bins of the start before training.

    The idea is that of AdaBins (arXiv 2011.14141), with these differences. AdaBins predicts widths from a transformer
    over a trained feature map, normalizes them after a ReLU, and takes the centres of the cells; here the input is
    CLIP's frozen pooled feature, the widths are a softmax and start at given bins, and the bins are the inner edges of
    K + 1 cells. AdaBins also trains its centres with a chamfer loss to the depths of the image; here only the loss of
    the predicted depth trains them.

    Args:
        start: bins before training: K depths in metres, the name of one of the paper's sets, or bins such as
            `LinearBins` and `FittedBins`.
        min_depth: lower bound of the bins in metres, positive.
        max_depth: upper bound of the bins in metres.
        hidden: number of hidden units of the network, from 1 to 65,536.

    Raises:
        InputError: as `LearnedBins`, or if hidden is out of its range.
    """

    needs_pooled = True
    net: nn.Module | None

    def __init__(
        self,
        start: Bins | Sequence[float] | str = "depthclip",
        min_depth: float = 1e-3,
        max_depth: float = 10.0,
        hidden: int = 64,
    ) -> None:
        super().__init__(start, min_depth, max_depth)
        check_count("hidden", hidden, at_most=65_536)
        self.hidden = hidden
        self.register_module("net", None)

    def prepare(self, text: TextEncoder) -> None:
        """Create the network."""
        self.net = zero_initialized(text.dim, self.hidden, len(self.gaps)).to(self.gaps.device)

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Return the depths in metres for each image, (B, K), from pooled features (B, D)."""
        check_fitted(self)
        if self.net is None:
            raise unprepared(self)
        assert pooled is not None
        return bins_from_gaps(self.gaps + self.net(pooled).float(), self.min_depth, self.max_depth)


def gaps_of(bins: Tensor, min_depth: float, max_depth: float) -> Tensor:
    """Return K + 1 gaps, before the softmax, that give K bins in metres, ascending.

    A bin at an end of the range is moved inside by a ten-thousandth of the range, because a gap of zero has no
    logarithm.

    Raises:
        InputError: if the bins do not lie in the range.
    """
    check_range(len(bins), min_depth, max_depth)
    inside = (bins.double() - min_depth) / (max_depth - min_depth)
    if inside[0] < -1e-6 or inside[-1] > 1 + 1e-6:
        raise InputError(
            f"the bins reach from {bins[0]:g} to {bins[-1]:g} m, beyond min_depth {min_depth:g} or max_depth "
            f"{max_depth:g} m; widen the range or choose other bins"
        )
    edges = F.pad(inside.clamp(1e-4, 1 - 1e-4), (1, 1))
    edges[-1] = 1
    return edges.diff().log().float()


def bins_from_gaps(gaps: Tensor, min_depth: float, max_depth: float) -> Tensor:
    """Return the bins in metres, (..., K), for gaps before their softmax, (..., K + 1)."""
    return min_depth + (max_depth - min_depth) * gaps.softmax(-1).cumsum(-1)[..., :-1]
