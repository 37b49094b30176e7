"""timm's image towers, as open_clip wraps them."""

from typing import Any

from torch import Tensor

from depthclip.encoder.towers.base import Tower, Trunk, to_map


class TimmTower(Tower):
    """A timm image tower: `trunk` is its final feature map or tokens, `pool` its head and open_clip's projection."""

    def __init__(self, visual: Any, kind: str, stride: int, depth: int) -> None:
        height, width = visual.image_size
        super().__init__(kind, stride, (height, width), depth)
        self.visual: Any = visual

    def intermediates(self, images: Tensor, layers: tuple[int, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the final features and the intermediate maps of some blocks, (B, C_l, h_l, w_l)."""
        if not layers:
            return self.visual.trunk.forward_features(images), ()
        wanted = self.block_indices(layers)
        indices = sorted(set(wanted))
        values, maps = self.visual.trunk.forward_intermediates(images, indices=indices)
        by_index = dict(zip(indices, maps, strict=True))
        return values, tuple(by_index[index] for index in wanted)

    def pool(self, trunk: Trunk) -> Tensor:
        return self.visual.head(self.visual.trunk.forward_head(trunk.values))

    def cells(self, trunk: Trunk) -> Tensor:
        """Return every patch of (B, ...) as a separate input of the head, (B*h*w, ...)."""
        raise NotImplementedError

    def pool_each(self, trunk: Trunk) -> Tensor:
        """Pool each patch as if it were the whole image, (B, D, h, w), not normalised."""
        each = self.visual.head(self.visual.trunk.forward_head(self.cells(trunk)))
        return to_map(each.unflatten(0, (len(trunk.values), -1)), trunk.grid)


class MAPTower(TimmTower):
    """timm's vision transformers with an attention-pool (MAP) head: SigLIP and SigLIP 2."""

    def __init__(self, visual: Any) -> None:
        trunk = visual.trunk
        super().__init__(visual, "MAP", trunk.patch_embed.patch_size[0], len(trunk.blocks))
        # what timm's own dynamic_img_size=True sets: positions are resampled at every call
        trunk.dynamic_img_size = True
        trunk.patch_embed.strict_img_size = False
        trunk.patch_embed.flatten = False
        trunk.patch_embed.output_fmt = "NHWC"

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        values, maps = self.intermediates(images, layers)
        return Trunk(values, (images.shape[-2] // self.stride, images.shape[-1] // self.stride), maps)

    def cells(self, trunk: Trunk) -> Tensor:
        height, width = trunk.grid
        return trunk.values[:, -height * width :].flatten(0, 1)[:, None]


class ConvTower(TimmTower):
    """timm's convolutional towers with a norm-and-project head: ConvNeXt, whose blocks are its stages."""

    def __init__(self, visual: Any) -> None:
        super().__init__(visual, "ConvNeXt", visual.trunk.feature_info[-1]["reduction"], len(visual.trunk.stages))

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        values, maps = self.intermediates(images, layers)
        return Trunk(values, (values.shape[-2], values.shape[-1]), maps)

    def cells(self, trunk: Trunk) -> Tensor:
        return trunk.values.permute(0, 2, 3, 1).flatten(0, 2)[..., None, None]
