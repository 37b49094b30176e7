"""The base class of the timm towers of open_clip."""

from typing import Any

from torch import Tensor

from depthclip.encoder.towers.base import Tower, Trunk, to_map


class TimmTower(Tower):
    """A TimmModel of open_clip.

    `trunk` returns timm's final features, and `pool` applies timm's head and open_clip's projection.

    Args:
        visual: the TimmModel.
        kind: name of the family, for messages.
        depth: number of blocks.
    """

    def __init__(self, visual: Any, kind: str, depth: int) -> None:
        height, width = visual.image_size
        # not the patch size, which is 1 if a convolutional stem precedes the patches
        super().__init__(kind, visual.trunk.feature_info[-1]["reduction"], (height, width), depth)
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
        """Return the output of the head and projection for each patch alone, (B, D, h, w), not normalized."""
        each = self.visual.head(self.visual.trunk.forward_head(self.cells(trunk)))
        return to_map(each.unflatten(0, (len(trunk.values), -1)), trunk.grid)
