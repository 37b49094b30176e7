"""How an image tower is read densely: one small class each.

A readout turns normalised images into one feature a patch. To try a new one, subclass `Readout`, name the towers it fits and
write `dense`; YAML names it by `class_path`.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.encoder.features import ImageFeatures
from depthclip.encoder.towers import ConvTower, MAPTower, ResNetTower, Tower, Trunk, ViTTower, to_map


class Readout(nn.Module):
    """Reads one feature for each patch out of a frozen image tower."""

    towers: tuple[type[Tower], ...] = ()

    def check(self, tower: Tower) -> None:
        """Refuses a tower that this readout does not fit.

        Raises:
            ValueError: naming the readouts that do.
        """
        if self.towers and not isinstance(tower, self.towers):
            fitting = [name for name, other in READOUTS.items() if not other.towers or isinstance(tower, other.towers)]
            raise ValueError(
                f"readout {type(self).__name__} does not fit a {tower.kind} tower; "
                f"the readouts that do are: {', '.join(fitting)}"
            )

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        """Features of every patch, (B, D, h, w), scaled as the readout means it."""
        raise NotImplementedError

    def forward(self, tower: Tower, images: Tensor, pooled: bool = False) -> ImageFeatures:
        """Normalised images (B, 3, H, W) to dense features, and to the pooled one when asked for."""
        trunk = tower.trunk(tower.fit(images))
        whole = F.normalize(tower.pool(trunk), dim=-1) if pooled else None
        return ImageFeatures(self.dense(tower, trunk), whole)


class Released(Readout):
    """What DepthCLIP's released code reads: layer4, unit length over its C channels, then nearest-resampled to D of them.

    RN50 keeps every second channel; the features are neither in CLIP's joint space nor of unit length
    (Adonis-galaxy/DepthCLIP, monoclip.py).
    """

    towers = (ResNetTower,)

    def dense(self, tower: ResNetTower, trunk: Trunk) -> Tensor:
        channels_last = F.normalize(trunk.values, dim=1).flatten(2).mT
        kept = F.interpolate(channels_last, size=tower.output_dim, mode="nearest")
        return to_map(kept, trunk.grid)


class AttentionPool(Readout):
    """Every patch is a query of CLIP's attention pool, positions resampled (bicubic, antialiased) to the grid."""

    towers = (ResNetTower,)

    def dense(self, tower: ResNetTower, trunk: Trunk) -> Tensor:
        return F.normalize(tower.attend_patches(trunk.values), dim=1)


class MaskCLIP(Readout):
    """Value and output projection of the last attention only, so that each patch speaks for itself (arXiv 2112.01071).

    On a tower with an attention-pool (MAP) head, each token is pooled as the only key.
    """

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
            values = tower.pool_each(trunk)
        return F.normalize(values, dim=1)


class Tokens(Readout):
    """The patch tokens after the last block, final norm and projection; ConvNeXt: head norm and projection per cell."""

    towers = (ViTTower, ConvTower)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        if isinstance(tower, ViTTower):
            values = to_map(tower.project(tower.last_block(trunk.values)), trunk.grid)
        else:
            values = tower.pool_each(trunk)
        return F.normalize(values, dim=1)


READOUTS: dict[str, type[Readout]] = {
    "released": Released,
    "attention_pool": AttentionPool,
    "maskclip": MaskCLIP,
    "tokens": Tokens,
}


def readout_of(readout: str | Readout) -> Readout:
    """A readout by name, or the one given.

    Raises:
        ValueError: if there is none of that name.
    """
    if isinstance(readout, Readout):
        return readout
    if readout not in READOUTS:
        raise ValueError(f"readout {readout!r} is unknown; choose one of {', '.join(READOUTS)}, or give a class_path")
    return READOUTS[readout]()
