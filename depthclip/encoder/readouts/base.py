"""The base class of readouts."""

from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.encoder.towers import Tower, TransformerTower, Trunk


class Readout(nn.Module):
    """Read one feature per patch from a frozen image tower.

    To add a readout, subclass this class, list the towers that it fits in `towers` (empty for all) and define `dense`.
    A recipe selects it by `class_path`.
    """

    towers: tuple[type[Tower], ...] = ()

    def fits(self, tower: Tower) -> bool:
        """Return whether the readout fits a tower.

        Raises:
            InputError: if the readout fits towers of this kind, but not the blocks of this tower.
        """
        return not self.towers or isinstance(tower, self.towers)

    def set_normalization(self, mean: Tensor, std: Tensor) -> None:
        """Take the normalization of the images, before the first of them; most readouts do not need it.

        Args:
            mean: (3, 1, 1), subtracted from the RGB values in [0, 1].
            std: (3, 1, 1), by which the difference is divided.
        """

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

    def extra_repr(self) -> str:
        """Return the arguments of the readout, which distinguish the entries of a feature cache."""
        settings = {key: value for key, value in vars(self).items() if not key.startswith("_") and key != "training"}
        return ", ".join(f"{key}={value!r}" for key, value in settings.items())


class BlockReadout(Readout):
    """A readout that computes another output of the last block of a transformer."""

    towers = (TransformerTower,)

    def fits(self, tower: Tower) -> bool:
        """Return whether the tower is a transformer.

        Raises:
            InputError: if it is, but blocks of its type are not supported.
        """
        return isinstance(tower, TransformerTower) and tower.block_parts((1, 1)) is not None
