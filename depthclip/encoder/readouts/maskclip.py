"""The readout `maskclip`."""

from torch import Tensor
from torch.nn import functional as F

from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import CoCaTower, MAPTower, ResNetTower, Tower, TransformerTower, Trunk, to_map


class MaskCLIP(Readout):
    """Value and output projection of the last attention in place of the attention (MaskCLIP, arXiv 2112.01071).

    On a tower with an attention-pool head (MAP, CoCa), each token is pooled as the only key.

    Args:
        reduced: whether the last block of another transformer consists of the two projections only, without residual
            connection and feed-forward network, as in ClearCLIP (arXiv 2407.12442); false keeps both, as in MaskCLIP's
            released code. It changes nothing on a ResNet or with an attention-pool head.
    """

    towers = (ResNetTower, TransformerTower)

    def __init__(self, reduced: bool = True) -> None:
        super().__init__()
        self.reduced = reduced

    def fits(self, tower: Tower) -> bool:
        """Return whether the readout fits a tower.

        Raises:
            InputError: if the tower is a transformer whose blocks are not supported.
        """
        pooled = isinstance(tower, ResNetTower | MAPTower | CoCaTower)
        return pooled or (isinstance(tower, TransformerTower) and tower.block_parts((1, 1)) is not None)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        """Return the projected values of each patch, (B, D, h, w), unit length."""
        if isinstance(tower, ResNetTower):
            pool = tower.visual.attnpool
            values = to_map(pool.c_proj(pool.v_proj(trunk.values.flatten(2).mT)), trunk.grid)
        elif isinstance(tower, MAPTower | CoCaTower):
            values = tower.pool_each(trunk)
        else:
            assert isinstance(tower, TransformerTower)  # FrozenCLIP checked that the readout fits
            assert trunk.last_input is not None
            parts, kept = tower.block_parts(trunk.grid), not self.reduced
            mixed = parts.heads(trunk.last_input).v
            tokens = parts.output(trunk.last_input, mixed, residual=kept, feed_forward=kept)
            values = tower.project_patches(tokens, trunk.grid)
        return F.normalize(values, dim=1)
