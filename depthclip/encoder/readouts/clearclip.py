"""The readout `clearclip`."""

from collections.abc import Sequence

from depthclip.encoder.readouts.self_attention import SelfAttention


class ClearCLIP(SelfAttention):
    """Attention of queries to queries without residual and feed-forward network (ClearCLIP, arXiv 2407.12442).

    The attended values are softmax(q qᵀ / sqrt(d)) v; see `SelfAttention`.

    Args:
        similarities: the attentions whose outputs are added: `qq`, `kk`, `vv`, `qk` (the block's) and `identity`.
        residual: whether the input of the block is added to the output of the attention.
        feed_forward: whether the feed-forward network of the block follows, with its residual connection.

    Raises:
        InputError: if a similarity is unknown, or there is none.
    """

    def __init__(
        self, similarities: Sequence[str] = ("qq",), residual: bool = False, feed_forward: bool = False
    ) -> None:
        super().__init__(similarities, residual, feed_forward)
