"""The image tower of CoCa."""

from typing import Any

from open_clip.transformer import VisionTransformer
from torch import Tensor

from depthclip.encoder.attention import BlockParts
from depthclip.encoder.towers.base import TransformerTower, Trunk, to_map
from depthclip.encoder.towers.vit import ViTTower


class CoCaTower(TransformerTower):
    """A VisionTransformer of open_clip with CoCa's attentional pooler, whose first query is the pooled feature."""

    def __init__(self, visual: VisionTransformer) -> None:
        vit = ViTTower(visual)
        super().__init__("CoCa", vit.stride, vit.native, vit.depth, vit.output_dim)
        self.visual: Any = visual
        self.vit = vit

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Return the tokens after the last block, (B, 1 + h*w, C), and the requested intermediate maps."""
        trunk = self.vit.trunk(images, layers)
        return trunk._replace(values=self.vit.last_block(trunk.values))

    def attend(self, tokens: Tensor) -> Tensor:
        """Return the projected output of the pooler's first query for sequences of tokens, (N, L, C) to (N, D)."""
        pooler = self.visual.attn_pool
        keys = pooler.ln_k(tokens)
        query = pooler.ln_q(pooler.query[:1]).expand(len(keys), -1, -1)
        attended, _ = pooler.attn(query, keys, keys, need_weights=False)
        return self.visual.ln_post(attended[:, 0]) @ self.visual.proj

    def block_parts(self, grid: tuple[int, int]) -> BlockParts:
        """Return the parts of the last block."""
        return self.vit.block_parts(grid)

    def project_patches(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the pooled feature of each patch as the only key, (B, D, h, w), not normalized."""
        return self.pool_each(Trunk(tokens, grid))

    def pool(self, trunk: Trunk) -> Tensor:
        """Return the pooled and projected feature, (B, D), not normalized."""
        return self.attend(trunk.values)

    def pool_each(self, trunk: Trunk) -> Tensor:
        """Return the pooled feature with each patch as the only key, (B, D, h, w), not normalized."""
        height, width = trunk.grid
        each = self.attend(trunk.values[:, -height * width :].flatten(0, 1)[:, None])
        return to_map(each.unflatten(0, (len(trunk.values), -1)), trunk.grid)
