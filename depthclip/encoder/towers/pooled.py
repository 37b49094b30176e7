"""Image towers that are read as a whole only."""

from typing import Any

from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from depthclip.encoder.towers.base import Tower, Trunk
from depthclip.errors import InputError


class PooledTower(Tower):
    """A tower that returns one feature for an image of its native size; the readout `crops` needs nothing else.

    Images of another size are resized, and there are no intermediate maps.

    Args:
        visual: the image tower of an open_clip model.
        kind: name of the family, for messages.
        limit: why readouts of patches do not fit, as a clause that follows the word "tower".
    """

    def __init__(self, visual: Any, kind: str, limit: str) -> None:
        size = visual.image_size
        height, width = (size, size) if isinstance(size, int) else size
        super().__init__(kind, max(height, width), (height, width), 0)
        self.visual: Any = visual
        self.limit = limit

    def to_stride(self, images: Tensor) -> Tensor:
        """Resize (B, 3, H, W) to the native size."""
        same = tuple(images.shape[-2:]) == self.native
        return images if same else TF.resize(images, list(self.native), antialias=True)

    def block_indices(self, layers: tuple[int, ...]) -> list[int]:
        """Return [] if no intermediate map is requested.

        Raises:
            InputError: if one is.
        """
        if layers:
            raise InputError(
                f"layers {list(layers)}: intermediate maps are not read from a {self.kind} tower, {self.limit}; use a "
                "head without layers, or another model"
            )
        return []

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Return the pooled features of images of the native size, (B, D), as the feature of the only patch."""
        self.block_indices(layers)
        output = self.visual(images)
        return Trunk(output[0] if isinstance(output, tuple) else output, (1, 1))  # some return tokens too

    def pool(self, trunk: Trunk) -> Tensor:
        """Return the pooled features, (B, D), not normalized."""
        return trunk.values
