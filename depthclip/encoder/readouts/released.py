"""The readout of DepthCLIP's released code."""

from torch import Tensor
from torch.nn import functional as F

from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import ResNetTower, Tower, Trunk, to_map


class Released(Readout):
    """DepthCLIP's released readout: layer4, unit length over its C channels, nearest-resampled to D of them.

    RN50 keeps every second channel; the features are neither in CLIP's joint space nor of unit length
    (Adonis-galaxy/DepthCLIP, monoclip.py).
    """

    towers = (ResNetTower,)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        channels_last = F.normalize(trunk.values, dim=1).flatten(2).mT
        kept = F.interpolate(channels_last, size=tower.output_dim, mode="nearest")
        return to_map(kept, trunk.grid)
