"""The convolutional towers of timm: ConvNeXt, and FastViT of MobileCLIP."""

from typing import Any

from torch import Tensor

from depthclip.encoder.towers.base import Trunk
from depthclip.encoder.towers.timm import TimmTower


class ConvTower(TimmTower):
    """A ConvNeXt or FastVit of timm; its blocks are the four or five stages.

    The final features of a FastVit pass a squeeze-and-excitation layer, whose weights depend on the whole image.
    """

    channels_last = True

    def __init__(self, visual: Any) -> None:
        super().__init__(visual, type(visual.trunk).__name__, len(visual.trunk.stages))

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Return the final feature map, (B, C, h, w), and the requested intermediate maps."""
        values, maps = self.intermediates(images, layers)
        return Trunk(values, (values.shape[-2], values.shape[-1]), maps)

    def cells(self, trunk: Trunk) -> Tensor:
        """Return each cell as a map, (B*h*w, C, 1, 1)."""
        return trunk.values.permute(0, 2, 3, 1).flatten(0, 2)[..., None, None]
