"""The base class of readouts that replace the attention of the last block."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from depthclip.checks import brief, check_choice
from depthclip.encoder.attention import Heads
from depthclip.encoder.readouts.base import BlockReadout
from depthclip.encoder.towers import Tower, TransformerTower, Trunk
from depthclip.errors import InputError

SIMILARITIES = ("qq", "kk", "vv", "qk", "identity")


class SelfAttention(BlockReadout):
    """Replace the attention of the last block by the sum of attentions of its queries, keys or values to themselves.

    With d the size of a head and G a bias, the attended values are sum_ab softmax(a bᵀ / sqrt(d) + G) v. The output
    projection follows, then the final norm and projection of the tower. A tower with an attention-pool head (SigLIP,
    PE) pools each token as the only key. The block itself is not changed, and pooled features and intermediate maps are
    those of the unmodified tower.

    Args:
        similarities: the attentions whose outputs are added: `qq`, `kk` and `vv` compare queries, keys and values with
            themselves, `qk` is the attention of the block, and with `identity` each token keeps its value.
        residual: whether the input of the block is added to the output of the attention.
        feed_forward: whether the feed-forward network of the block follows, with its residual connection.

    Raises:
        InputError: if a similarity is unknown, or there is none.
    """

    def __init__(self, similarities: Sequence[str], residual: bool, feed_forward: bool) -> None:
        super().__init__()
        if isinstance(similarities, str) or not similarities:
            raise InputError(f"similarities {brief(similarities)} must be a list; use one or more of {SIMILARITIES}")
        for similarity in similarities:
            check_choice("similarity", similarity, SIMILARITIES)
        self.similarities = tuple(similarities)
        self.residual = residual
        self.feed_forward = feed_forward

    def bias(self, values: Tensor, grid: tuple[int, int]) -> Tensor | None:
        """Return what is added to the similarities before the softmax, (N, N), or None.

        Args:
            values: (B, heads, N, d), the values of the tokens.
            grid: (h, w), the grid of the patches, which are the last h*w tokens.
        """
        return None

    def attend(self, heads: Heads, grid: tuple[int, int]) -> Tensor:
        """Return the attended values, (B, heads, N, d)."""
        parts, bias = heads._asdict(), self.bias(heads.v, grid)
        outputs = [
            heads.v
            if similarity == "identity"
            else F.scaled_dot_product_attention(parts[similarity[0]], parts[similarity[1]], heads.v, bias)
            for similarity in self.similarities
        ]
        return torch.stack(outputs).sum(0)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        """Return the feature of each patch, (B, D, h, w), unit length."""
        assert isinstance(tower, TransformerTower)  # FrozenCLIP checked that the readout fits
        assert trunk.last_input is not None
        parts, tokens = tower.block_parts(trunk.grid), trunk.last_input
        values = self.attend(parts.heads(tokens), trunk.grid)
        output = parts.output(tokens, values, self.residual, self.feed_forward)
        return F.normalize(tower.project_patches(output, trunk.grid), dim=1)
