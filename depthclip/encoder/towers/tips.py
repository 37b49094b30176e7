"""The image tower of TIPSv2."""

from typing import Any

from torch import Tensor, nn

from depthclip.encoder.attention import BlockParts, Heads, join_heads
from depthclip.encoder.towers.base import BlockTower, Trunk


class TIPSParts(BlockParts):
    """The parts of a block of TIPSv2's image tower."""

    def heads(self, tokens: Tensor) -> Heads:
        """Return the queries, keys and values of the tokens (B, N, C)."""
        attention, inputs = self.block.attention, self.block.norm1(tokens)
        q, k, v = (
            project(inputs).unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return Heads(q, k, v)

    def project(self, values: Tensor) -> Tensor:
        """Return the output of the attention branch, (B, N, C)."""
        return self.block.layer_scale1(self.block.attention.o_proj(join_heads(values)))

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """Return the output of the feed-forward branch, (B, N, C)."""
        return self.block.layer_scale2(self.block.mlp(self.block.norm2(tokens)))


class TIPSTower(BlockTower):
    """A `Tipsv2VisionModel` of transformers: `trunk` returns the input of the last block, and `pool` runs the rest.

    The prefix of the tokens is the class token and the register tokens. Position embeddings are resampled by the
    library (bilinear, antialiased). The class token of the final norm is the pooled feature; there is no projection.

    Args:
        visual: the image tower.
    """

    def __init__(self, visual: nn.Module) -> None:
        config: Any = visual.config
        side = config.image_size
        super().__init__("TIPSv2", config.patch_size, (side, side), config.num_hidden_layers, config.hidden_size)
        self.visual: Any = visual

    @property
    def blocks(self) -> Any:
        """The blocks, in their order."""
        return self.visual.encoder.layer

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Return the input of the last block, (B, prefix + h*w, C), and the requested intermediate maps."""
        grid = (images.shape[-2] // self.stride, images.shape[-1] // self.stride)
        return self.run(self.visual.embeddings(images), grid, layers)

    def project(self, values: Tensor) -> Tensor:
        """Apply the final norm, (..., C) to (..., D) with D = C."""
        return self.visual.layernorm(values)

    def block_parts(self, grid: tuple[int, int]) -> BlockParts:
        """Return the parts of the last block."""
        return TIPSParts(self.last_block)

    def pool(self, trunk: Trunk) -> Tensor:
        """Return the class token after the final norm, (B, D), not normalized."""
        return self.project(self.last_block(trunk.values)[:, 0])
