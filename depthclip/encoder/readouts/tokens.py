"""The readout `tokens`."""

from torch import Tensor
from torch.nn import functional as F

from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import ConvTower, TIPSTower, TokenTower, Tower, Trunk, ViTTower, to_map


class Tokens(Readout):
    """Patch tokens after the last block, final norm and projection; for ConvNeXt and FastViT, the head of each cell."""

    towers = (ViTTower, TokenTower, ConvTower, TIPSTower)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        """Return the projected tokens or cells, (B, D, h, w), unit length."""
        if isinstance(tower, ViTTower | TIPSTower):
            values = to_map(tower.project(tower.last_block(trunk.values)), trunk.grid)
        else:
            values = tower.pool_each(trunk)
        return F.normalize(values, dim=1)
