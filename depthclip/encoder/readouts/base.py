"""The base class of readouts."""

from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.encoder.towers import Tower, Trunk


class Readout(nn.Module):
    """Read one feature per patch from a frozen image tower.

    To add a readout, subclass this class, list the towers that it fits in `towers` (empty for all) and define `dense`.
    A recipe selects it by `class_path`.
    """

    towers: tuple[type[Tower], ...] = ()

    def fits(self, tower: Tower) -> bool:
        """Return whether the readout fits a tower."""
        return not self.towers or isinstance(tower, self.towers)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        """Return the features of all patches, (B, D, h, w), of unit length unless the subclass documents otherwise.

        Args:
            tower: a tower that the readout fits.
            trunk: the output of its `trunk`.
        """
        raise NotImplementedError

    def forward(self, tower: Tower, images: Tensor, needs: Needs) -> ImageFeatures:
        """Return the dense features of images, and the pooled features and intermediate maps that heads need.

        Args:
            tower: a tower that the readout fits.
            images: (B, 3, H, W), normalized, of any height and width.
            needs: the features to compute besides the dense ones.

        Raises:
            InputError: if a layer in `needs` is not a block of the tower.
        """
        trunk = tower.trunk(tower.to_stride(images), needs.layers)
        pooled = F.normalize(tower.pool(trunk), dim=-1) if needs.pooled else None
        return ImageFeatures(self.dense(tower, trunk), pooled, trunk.layers)
