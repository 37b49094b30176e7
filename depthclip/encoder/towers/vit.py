"""The native vision transformers of open_clip."""

from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from depthclip.encoder.attention import BlockParts, parts_of
from depthclip.encoder.towers.base import TransformerTower, Trunk, to_map


class ViTTower(TransformerTower):
    """A VisionTransformer of open_clip: `trunk` returns the input of the last block, and `pool` runs the rest."""

    def __init__(self, visual: VisionTransformer) -> None:
        height, width = visual.image_size
        depth = len(visual.transformer.resblocks)
        super().__init__("ViT", visual.patch_size[0], (height, width), depth, visual.output_dim)
        self.visual: Any = visual

    @property
    def last_block(self) -> Any:
        """The last block, which dense readouts modify."""
        return self.visual.transformer.resblocks[-1]

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Return the input of the last block, (B, 1 + h*w, C), and the requested intermediate maps."""
        indices = self.block_indices(layers)
        visual = self.visual
        patches = visual.conv1(images)
        grid = (patches.shape[-2], patches.shape[-1])
        start = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        positions = resample_abs_pos_embed(visual.positional_embedding[None], list(grid), list(visual.grid_size))
        values = visual.ln_pre(torch.cat([start, patches.flatten(2).mT], dim=1) + positions.to(patches.dtype))
        maps: dict[int, Tensor] = {}
        for index, block in enumerate(visual.transformer.resblocks[:-1]):
            values = block(values)
            if index in indices:
                maps[index] = to_map(values, grid).contiguous()
        if self.depth - 1 in indices:
            maps[self.depth - 1] = to_map(self.last_block(values), grid).contiguous()
        return Trunk(values, grid, tuple(maps[index] for index in indices), values)

    def project(self, values: Tensor) -> Tensor:
        """Apply the final norm and the projection to the joint space, (..., C) to (..., D)."""
        values = self.visual.ln_post(values)
        return values if self.visual.proj is None else values @ self.visual.proj

    def block_parts(self, grid: tuple[int, int]) -> BlockParts:
        """Return the parts of the last block."""
        return parts_of(self.last_block)

    def project_patches(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the feature of each patch after the final norm and projection, (B, D, h, w), not normalized."""
        return to_map(self.project(tokens), grid)

    def pool(self, trunk: Trunk) -> Tensor:
        """Return the pooled and projected feature, (B, D), not normalized."""
        values = self.last_block(trunk.values)
        if self.visual.pool_type == "tok":
            return self.project(values[:, 0])
        if self.visual.final_ln_after_pool:
            return self.project(values[:, 1:].mean(1))
        values = self.visual.ln_post(values[:, 1:]).mean(1)
        return values if self.visual.proj is None else values @ self.visual.proj
