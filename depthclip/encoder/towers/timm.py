"""The timm towers of open_clip."""

from typing import Any

import torch
from torch import Tensor

from depthclip.encoder.attention import BlockParts, parts_of
from depthclip.encoder.towers.base import Tower, TransformerTower, Trunk, to_map


class TimmTower(Tower):
    """A TimmModel of open_clip.

    `trunk` returns timm's final features, and `pool` applies timm's head and open_clip's projection.
    """

    def __init__(self, visual: Any, kind: str, stride: int, depth: int) -> None:
        height, width = visual.image_size
        super().__init__(kind, stride, (height, width), depth)
        self.visual: Any = visual

    def intermediates(self, images: Tensor, layers: tuple[int, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the final features and the requested intermediate maps, (B, C_l, h_l, w_l)."""
        if not layers:
            return self.visual.trunk.forward_features(images), ()
        indices = self.block_indices(layers)
        computed = sorted(set(indices))
        values, outputs = self.visual.trunk.forward_intermediates(images, indices=computed)
        maps = dict(zip(computed, outputs, strict=True))
        return values, tuple(maps[index] for index in indices)

    def pool(self, trunk: Trunk) -> Tensor:
        """Return the output of timm's head and open_clip's projection, (B, D), not normalized."""
        return self.visual.head(self.visual.trunk.forward_head(trunk.values))

    def cells(self, trunk: Trunk) -> Tensor:
        """Return each patch as a separate input of the head, (B*h*w, ...)."""
        raise NotImplementedError

    def pool_each(self, trunk: Trunk) -> Tensor:
        """Return the pooled feature of each patch alone, (B, D, h, w), not normalized."""
        each = self.visual.head(self.visual.trunk.forward_head(self.cells(trunk)))
        return to_map(each.unflatten(0, (len(trunk.values), -1)), trunk.grid)


class MAPTower(TimmTower, TransformerTower):
    """A timm VisionTransformer with an attention-pool (MAP) head, as in SigLIP and SigLIP 2."""

    def __init__(self, visual: Any) -> None:
        trunk = visual.trunk
        super().__init__(visual, "MAP", trunk.patch_embed.patch_size[0], len(trunk.blocks))
        # the settings of timm's dynamic_img_size=True: positions are resampled at every call
        trunk.dynamic_img_size = True
        trunk.patch_embed.strict_img_size = False
        trunk.patch_embed.flatten = False
        trunk.patch_embed.output_fmt = "NHWC"

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Return the tokens after the final norm, the input of the last block, and the requested intermediate maps.

        Tokens are (B, prefix + h*w, C).
        """
        grid = (images.shape[-2] // self.stride, images.shape[-1] // self.stride)
        indices, before = self.block_indices(layers), self.depth - 2
        computed = sorted({*indices, before})
        outputs = self.visual.trunk.forward_intermediates(
            images, indices=computed, output_fmt="NLC", output_dict=True, return_prefix_tokens=True
        )
        tokens = dict(zip(computed, outputs["image_intermediates"], strict=True))
        prefixes = dict(zip(computed, outputs.get("image_intermediates_prefix", ()), strict=False))
        last_input = torch.cat([prefixes[before], tokens[before]], dim=1) if prefixes else tokens[before]
        maps = tuple(to_map(tokens[index], grid) for index in indices)
        return Trunk(outputs["image_features"], grid, maps, last_input)

    def block_parts(self, grid: tuple[int, int]) -> BlockParts:
        """Return the parts of the last block."""
        return parts_of(self.visual.trunk.blocks[-1])

    def project_patches(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the pooled feature of each patch alone after the final norm, (B, D, h, w), not normalized."""
        return self.pool_each(Trunk(self.visual.trunk.norm(tokens), grid))

    def cells(self, trunk: Trunk) -> Tensor:
        """Return each token as a sequence, (B*h*w, 1, C)."""
        height, width = trunk.grid
        return trunk.values[:, -height * width :].flatten(0, 1)[:, None]


class ConvTower(TimmTower):
    """A timm ConvNeXt; its blocks are the four stages."""

    def __init__(self, visual: Any) -> None:
        super().__init__(visual, "ConvNeXt", visual.trunk.feature_info[-1]["reduction"], len(visual.trunk.stages))

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Return the final feature map, (B, C, h, w), and the requested intermediate maps."""
        values, maps = self.intermediates(images, layers)
        return Trunk(values, (values.shape[-2], values.shape[-1]), maps)

    def cells(self, trunk: Trunk) -> Tensor:
        """Return each cell as a map, (B*h*w, C, 1, 1)."""
        return trunk.values.permute(0, 2, 3, 1).flatten(0, 2)[..., None, None]
