"""The values of the last attention."""

from torch import Tensor
from torch.nn import functional as F

from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import MAPTower, ResNetTower, TimmTower, Tower, Trunk, ViTTower, to_map


class MaskCLIP(Readout):
    """Value and output projection of the last attention."""

    towers = (ResNetTower, ViTTower, MAPTower)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        if isinstance(tower, ResNetTower):
            pool = tower.visual.attnpool
            values = to_map(pool.c_proj(pool.v_proj(trunk.values.flatten(2).mT)), trunk.grid)
        elif isinstance(tower, ViTTower):
            block = tower.last_block
            width = block.attn.in_proj_weight.shape[1]
            weight, bias = block.attn.in_proj_weight[-width:], block.attn.in_proj_bias[-width:]
            value = F.linear(block.ln_1(trunk.values), weight, bias)
            values = to_map(tower.project(block.ls_1(block.attn.out_proj(value))), trunk.grid)
        else:
            assert isinstance(tower, TimmTower)  # FrozenCLIP checked that the readout fits
            values = tower.pool_each(trunk)
        return F.normalize(values, dim=1)
