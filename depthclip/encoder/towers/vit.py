"""The native vision transformers of open_clip."""

from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from depthclip.encoder.attention import BlockParts, parts_of
from depthclip.encoder.towers.base import BlockTower, Trunk


class ViTTower(BlockTower):
    """A VisionTransformer of open_clip: `trunk` returns the input of the last block, and `pool` runs the rest."""

    def __init__(self, visual: VisionTransformer) -> None:
        height, width = visual.image_size
        depth = len(visual.transformer.resblocks)
        super().__init__("ViT", visual.patch_size[0], (height, width), depth, visual.output_dim)
        self.visual: Any = visual

    @property
    def blocks(self) -> Any:
        """The blocks, in their order."""
        return self.visual.transformer.resblocks

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Return the input of the last block, (B, 1 + h*w, C), and the requested intermediate maps."""
        visual = self.visual
        patches = visual.conv1(images)
        grid = (patches.shape[-2], patches.shape[-1])
        start = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        positions = resample_abs_pos_embed(visual.positional_embedding[None], list(grid), list(visual.grid_size))
        values = visual.ln_pre(torch.cat([start, patches.flatten(2).mT], dim=1) + positions.to(patches.dtype))
        return self.run(values, grid, layers)

    def project(self, values: Tensor) -> Tensor:
        """Apply the final norm and the projection to the joint space, (..., C) to (..., D)."""
        values = self.visual.ln_post(values)
        return values if self.visual.proj is None else values @ self.visual.proj

    def block_parts(self, grid: tuple[int, int]) -> BlockParts:
        """Return the parts of the last block."""
        return parts_of(self.last_block)

    def pool(self, trunk: Trunk) -> Tensor:
        """Return the pooled and projected feature, (B, D), not normalized."""
        values = self.last_block(trunk.values)
        if self.visual.pool_type == "tok":
            return self.project(values[:, 0])
        if self.visual.final_ln_after_pool:
            return self.project(values[:, 1:].mean(1))
        values = self.visual.ln_post(values[:, 1:]).mean(1)
        return values if self.visual.proj is None else values @ self.visual.proj
