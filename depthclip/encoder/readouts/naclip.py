"""The readout `naclip`."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from depthclip.checks import check_number
from depthclip.encoder.readouts.self_attention import SelfAttention


class NACLIP(SelfAttention):
    """Attention of keys to keys that prefers near patches (NACLIP, arXiv 2404.08181).

    The attended values are softmax(k kᵀ / sqrt(d) + G) v with G = exp(-r² / (2 std²)) for patches at a distance of r
    patches, and G = 0 in the rows and columns of class and register tokens; see `SelfAttention`.

    Args:
        std: the standard deviation of the Gaussian, in patches.
        similarities: the attentions whose outputs are added: `qq`, `kk`, `vv`, `qk` (the block's) and `identity`.
        residual: whether the input of the block is added to the output of the attention.
        feed_forward: whether the feed-forward network of the block follows, with its residual connection.

    Raises:
        InputError: if a similarity is unknown, there is none, or `std` is not positive.
    """

    def __init__(
        self,
        std: float = 5.0,
        similarities: Sequence[str] = ("kk",),
        residual: bool = False,
        feed_forward: bool = False,
    ) -> None:
        super().__init__(similarities, residual, feed_forward)
        check_number("std", std, above=0, at_most=1e6, unit="patches")
        self.std = std

    def bias(self, values: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return G, (N, N)."""
        rows, columns = (torch.arange(side, device=values.device) for side in grid)
        places = torch.cartesian_prod(rows, columns).to(values)
        squares = (places[:, None] - places).square().sum(-1)
        prefix = values.shape[-2] - len(places)
        return F.pad((-squares / (2 * self.std**2)).exp(), (prefix, 0, prefix, 0))
