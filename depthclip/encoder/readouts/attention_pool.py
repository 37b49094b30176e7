"""Every patch as a query of CLIP's attention pool."""

from torch import Tensor
from torch.nn import functional as F

from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import ResNetTower, Tower, Trunk


class AttentionPool(Readout):
    """Every patch is a query of CLIP's attention pool, positions resampled (bicubic, antialiased) to the grid."""

    towers = (ResNetTower,)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        assert isinstance(tower, ResNetTower)  # FrozenCLIP checked that the readout fits
        return F.normalize(tower.attend_patches(trunk.values), dim=1)
