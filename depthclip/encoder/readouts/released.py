"""The readout `released`."""

from torch import Tensor
from torch.nn import functional as F

from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import ResNetTower, Tower, Trunk, to_map


class Released(Readout):
    """The readout of DepthCLIP's released code: `layer4`, scaled to unit length, resampled from C to D channels.

    The channels are resampled by nearest neighbour, so that RN50 keeps every second one. The features are neither in
    CLIP's joint space nor of unit length (Adonis-galaxy/DepthCLIP, monoclip.py).
    """

    towers = (ResNetTower,)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        """Return D channels of layer4, (B, D, h, w), scaled to unit length before the selection."""
        channels_last = F.normalize(trunk.values, dim=1).flatten(2).mT
        kept = F.interpolate(channels_last, size=tower.output_dim, mode="nearest")
        return to_map(kept, trunk.grid)
