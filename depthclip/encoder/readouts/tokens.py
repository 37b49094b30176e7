"""The readout `tokens`."""

from torch import Tensor
from torch.nn import functional as F

from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import BlockTower, ConvTower, TokenTower, Tower, Trunk


class Tokens(Readout):
    """Patch tokens after the last block, final norm and projection; for ConvNeXt and FastViT, the head of each cell."""

    towers = (BlockTower, TokenTower, ConvTower)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        """Return the projected tokens or cells, (B, D, h, w), unit length."""
        return F.normalize(tower.pool_each(trunk), dim=1)
