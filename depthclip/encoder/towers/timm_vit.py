"""The transformers of timm: SigLIP, PE, EVA, ViTamin, and the ViTs of MobileCLIP."""

from typing import Any

import torch
from torch import Tensor

from depthclip.encoder.attention import BlockParts, parts_of
from depthclip.encoder.towers.base import TransformerTower, Trunk, to_map
from depthclip.encoder.towers.timm import TimmTower
from depthclip.errors import InputError


class TimmTransformer(TimmTower, TransformerTower):
    """A VisionTransformer or Eva of timm."""

    def __init__(self, visual: Any, kind: str) -> None:
        trunk = visual.trunk
        super().__init__(visual, kind, len(trunk.blocks))
        # the settings of timm's dynamic_img_size=True: positions are resampled at every call
        trunk.dynamic_img_size = True
        trunk.patch_embed.strict_img_size = False
        trunk.patch_embed.flatten = False
        trunk.patch_embed.output_fmt = "NHWC"

    def set_grid(self, grid: tuple[int, int]) -> None:
        """Set the grid of the rotary positions, which timm keeps from call to call; few models have them."""
        rope: Any = getattr(self.visual.trunk, "rope", None)
        if hasattr(rope, "update_feat_shape"):
            rope.update_feat_shape(grid)

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Return the tokens after the final norm, the input of the last block, and the requested intermediate maps.

        Tokens are (B, prefix + h*w, C).
        """
        grid = (images.shape[-2] // self.stride, images.shape[-1] // self.stride)
        indices, before = self.block_indices(layers), self.depth - 2
        computed = sorted({*indices, max(0, before)})
        prefixed = self.visual.trunk.num_prefix_tokens > 0
        self.set_grid(grid)
        values, outputs = self.visual.trunk.forward_intermediates(
            images, indices=computed, return_prefix_tokens=prefixed, output_fmt="NLC"
        )
        self.set_grid(self.visual.trunk.patch_embed.grid_size)
        if prefixed:  # pairs of patch and prefix tokens
            outputs = [torch.cat([prefix, patches], dim=1) for patches, prefix in outputs]
        tokens = dict(zip(computed, outputs, strict=True))
        return Trunk(
            values, grid, tuple(to_map(tokens[index], grid).contiguous() for index in indices), tokens.get(before)
        )

    def block_parts(self, grid: tuple[int, int]) -> BlockParts:
        """Return the parts of the last block.

        Raises:
            InputError: if blocks of this type are not supported, or there is only one block.
        """
        if self.depth == 1:
            raise InputError(f"readout: the {self.kind} tower has one block, whose input is not known; use tokens")
        rope: Any = getattr(self.visual.trunk, "rope", None)
        self.set_grid(grid)
        positions = None if rope is None else rope.get_embed(shape=grid)
        self.set_grid(self.visual.trunk.patch_embed.grid_size)
        return parts_of(self.visual.trunk.blocks[-1], positions)

    def project_patches(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the pooled feature of each patch alone after the final norm, (B, D, h, w), not normalized."""
        return self.pool_each(Trunk(self.visual.trunk.norm(tokens), grid))

    def cells(self, trunk: Trunk) -> Tensor:
        """Return each token as a sequence, (B*h*w, 1, C)."""
        height, width = trunk.grid
        return trunk.values[:, -height * width :].flatten(0, 1)[:, None]


class MAPTower(TimmTransformer):
    """A timm transformer with an attention-pool (MAP) head, as in SigLIP, SigLIP 2 and PE."""

    def __init__(self, visual: Any) -> None:
        super().__init__(visual, "MAP")


class TokenTower(TimmTransformer):
    """A timm transformer that pools its class token or the mean of its patches, as in EVA, ViTamin and MobileCLIP."""

    def __init__(self, visual: Any) -> None:
        super().__init__(visual, f"timm {type(visual.trunk).__name__}")

    def cells(self, trunk: Trunk) -> Tensor:
        """Return each token as a sequence that repeats it, (B*h*w, prefix + 1, C).

        The class token of the sequence and the mean of its patches are thus the token.
        """
        return super().cells(trunk).expand(-1, self.visual.trunk.num_prefix_tokens + 1, -1)
