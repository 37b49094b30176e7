"""The readout `sclip`."""

from collections.abc import Sequence

from depthclip.encoder.readouts.self_attention import SelfAttention


class SCLIP(SelfAttention):
    """Attention of queries to queries plus attention of keys to keys in the last block (SCLIP, arXiv 2312.01597).

    The attended values are (softmax(q qᵀ / sqrt(d)) + softmax(k kᵀ / sqrt(d))) v; see `SelfAttention`.

    Args:
        similarities: the attentions whose outputs are added: `qq`, `kk`, `vv`, `qk` (the block's) and `identity`.
        residual: whether the input of the block is added to the output of the attention.
        feed_forward: whether the feed-forward network of the block follows, with its residual connection.

    Raises:
        InputError: if a similarity is unknown, or there is none.
    """

    def __init__(
        self, similarities: Sequence[str] = ("qq", "kk"), residual: bool = True, feed_forward: bool = True
    ) -> None:
        super().__init__(similarities, residual, feed_forward)
