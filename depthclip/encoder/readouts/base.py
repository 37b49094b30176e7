"""The contract of a readout."""

from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.encoder.towers import Tower, Trunk


class Readout(nn.Module):
    """Reads one feature for each patch from a frozen image tower.

    To add a readout, subclass this, list the towers that it fits and write `dense`; YAML names it by `class_path`.
    """

    towers: tuple[type[Tower], ...] = ()

    def fits(self, tower: Tower) -> bool:
        """Return whether this readout can read a tower."""
        return not self.towers or isinstance(tower, self.towers)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        """Return the features of all patches, (B, D, h, w), scaled as the readout's docstring says."""
        raise NotImplementedError

    def forward(self, tower: Tower, images: Tensor, needs: Needs) -> ImageFeatures:
        """Return the dense features of normalised images (B, 3, H, W), and what else the heads need."""
        trunk = tower.trunk(tower.to_stride(images), needs.layers)
        pooled = F.normalize(tower.pool(trunk), dim=-1) if needs.pooled else None
        return ImageFeatures(self.dense(tower, trunk), pooled, trunk.layers)
