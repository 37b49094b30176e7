"""The readout `maskclip`."""

from torch import Tensor
from torch.nn import functional as F

from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import CoCaTower, MAPTower, ResNetTower, TIPSTower, Tower, Trunk, ViTTower, to_map


class MaskCLIP(Readout):
    """Value and output projection of the last attention in place of the attention (MaskCLIP, arXiv 2112.01071).

    On a tower with an attention-pool head (MAP, CoCa), each token is pooled as the only key.

    Args:
        reduced: whether the last block of a ViT consists of the two projections only, without residual connection and
            feed-forward network, as in ClearCLIP (arXiv 2407.12442); false keeps both, as in MaskCLIP's released code.
            It changes nothing on other towers, whose last layer has neither.
    """

    towers = (ResNetTower, ViTTower, MAPTower, CoCaTower, TIPSTower)

    def __init__(self, reduced: bool = True) -> None:
        super().__init__()
        self.reduced = reduced

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        """Return the projected values of each patch, (B, D, h, w), unit length."""
        if isinstance(tower, ResNetTower):
            pool = tower.visual.attnpool
            values = to_map(pool.c_proj(pool.v_proj(trunk.values.flatten(2).mT)), trunk.grid)
        elif isinstance(tower, ViTTower):
            block = tower.last_block
            width = block.attn.in_proj_weight.shape[1]
            weight, bias = block.attn.in_proj_weight[-width:], block.attn.in_proj_bias[-width:]
            tokens = block.ls_1(block.attn.out_proj(F.linear(block.ln_1(trunk.values), weight, bias)))
            if not self.reduced:
                tokens = trunk.values + tokens
                tokens = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
            values = to_map(tower.project(tokens), trunk.grid)
        elif isinstance(tower, TIPSTower):
            block = tower.last_block
            tokens = block.layer_scale1(block.attention.o_proj(block.attention.v_proj(block.norm1(trunk.values))))
            if not self.reduced:
                tokens = trunk.values + tokens
                tokens = tokens + block.layer_scale2(block.mlp(block.norm2(tokens)))
            values = to_map(tower.project(tokens), trunk.grid)
        else:
            values = tower.pool_each(trunk)
        return F.normalize(values, dim=1)
