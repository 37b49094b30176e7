"""The readout `attention_pool`."""

from torch import Tensor
from torch.nn import functional as F

from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import ResNetTower, Tower, Trunk


class AttentionPool(Readout):
    """Each patch queries CLIP's attention pool; positions are resampled (bicubic, antialiased) to the grid."""

    towers = (ResNetTower,)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        """Return the output of the attention pool for each patch, (B, D, h, w), unit length."""
        assert isinstance(tower, ResNetTower)  # FrozenCLIP checked that the readout fits
        return F.normalize(tower.attend_patches(trunk.values), dim=1)
