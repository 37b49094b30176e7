"""How an image tower is read densely: one small class each.

A readout turns normalised images into one feature a patch. To try a new one, subclass `Readout`, name the towers it
fits and write `dense`; YAML names it by `class_path`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from depthclip.checks import check_choice, check_count
from depthclip.encoder.features import ImageFeatures
from depthclip.encoder.towers import (
    ConvTower,
    MAPTower,
    ResNetTower,
    TimmTower,
    Tower,
    Trunk,
    ViTTower,
    to_map,
    to_multiples,
)
from depthclip.errors import InputError


class Readout(nn.Module):
    """Reads one feature for each patch out of a frozen image tower."""

    towers: tuple[type[Tower], ...] = ()

    def check(self, tower: Tower) -> None:
        """Refuses a tower that this readout does not fit.

        Raises:
            InputError: naming the readouts that do.
        """
        if self.towers and not isinstance(tower, self.towers):
            fitting = [name for name, other in READOUTS.items() if not other.towers or isinstance(tower, other.towers)]
            raise InputError(
                f"readout {type(self).__name__} does not fit a {tower.kind} tower; choose one of {', '.join(fitting)}"
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
    """What DepthCLIP's released code reads: layer4, unit length over its C channels, nearest-resampled to D of them.

    RN50 keeps every second channel; the features are neither in CLIP's joint space nor of unit length
    (Adonis-galaxy/DepthCLIP, monoclip.py).
    """

    towers = (ResNetTower,)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        channels_last = F.normalize(trunk.values, dim=1).flatten(2).mT
        kept = F.interpolate(channels_last, size=tower.output_dim, mode="nearest")
        return to_map(kept, trunk.grid)


class AttentionPool(Readout):
    """Every patch is a query of CLIP's attention pool, positions resampled (bicubic, antialiased) to the grid."""

    towers = (ResNetTower,)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        assert isinstance(tower, ResNetTower)  # check() saw to it
        return F.normalize(tower.attend_patches(trunk.values), dim=1)


class MaskCLIP(Readout):
    """Value and output projection of the last attention instead of attention (MaskCLIP, arXiv 2112.01071).

    On a tower with an attention-pool (MAP) head, each token is pooled as the only key.

    Args:
        reduced: on a ViT, whether the last block is the projections alone, without residual connection and feed-forward
            network, as ClearCLIP reduces it (arXiv 2407.12442); false keeps both, as the code released with MaskCLIP
            does. Other towers have neither in their last layer.
    """

    towers = (ResNetTower, ViTTower, MAPTower)

    def __init__(self, reduced: bool = True) -> None:
        super().__init__()
        self.reduced = reduced

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
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
        else:
            assert isinstance(tower, TimmTower)  # check() saw to it
            values = tower.pool_each(trunk)
        return F.normalize(values, dim=1)


class Tokens(Readout):
    """The patch tokens after the last block, final norm and projection; ConvNeXt: head norm and projection per cell."""

    towers = (ViTTower, ConvTower)

    def dense(self, tower: Tower, trunk: Trunk) -> Tensor:
        if isinstance(tower, ViTTower):
            values = to_map(tower.project(tower.last_block(trunk.values)), trunk.grid)
        else:
            assert isinstance(tower, TimmTower)  # check() saw to it
            values = tower.pool_each(trunk)
        return F.normalize(values, dim=1)


class Crops(Readout):
    """Every patch is cut out, resized to the tower's own resolution and encoded as an image of its own.

    The patches are centred on the cells of a grid of `stride` pixels; at the border the image is continued by its
    outermost pixels. An image whose sides are no multiples of the stride is resized to the nearest multiples first.

    Args:
        patch: side of a patch in pixels of what the model sees.
        stride: pixels from one patch to the next, at most `patch` and of the same parity.
        batch: patches encoded at a time.

    Raises:
        InputError: if the sizes do not fit each other.
    """

    def __init__(self, patch: int = 64, stride: int = 32, batch: int = 256) -> None:
        super().__init__()
        check_count("patch", patch, at_most=4096, unit="pixels")
        check_count("stride", stride, at_most=4096, unit="pixels")
        check_count("batch", batch, at_most=1_000_000, unit="patches")
        if stride > patch or (patch - stride) % 2:
            raise InputError(f"stride {stride} must be at most patch {patch}, and both even or both odd")
        self.patch, self.stride, self.batch = patch, stride, batch

    def forward(self, tower: Tower, images: Tensor, pooled: bool = False) -> ImageFeatures:
        """Normalised images (B, 3, H, W) to dense features; the pooled one is an extra pass over the whole image."""
        images = to_multiples(images, self.stride)
        margin = (self.patch - self.stride) // 2
        grid = (images.shape[-2] // self.stride, images.shape[-1] // self.stride)
        patches = F.unfold(F.pad(images, (margin,) * 4, mode="replicate"), self.patch, stride=self.stride)
        patches = patches.mT.reshape(-1, 3, self.patch, self.patch)
        pools = [tower.pool(tower.trunk(self.own_size(part, tower))) for part in patches.split(self.batch)]
        dense = to_map(F.normalize(torch.cat(pools), dim=-1).unflatten(0, (len(images), -1)), grid)
        if not pooled:
            return ImageFeatures(dense)
        return ImageFeatures(dense, F.normalize(tower.pool(tower.trunk(tower.fit(images))), dim=-1))

    def own_size(self, patches: Tensor, tower: Tower) -> Tensor:
        """Patches (N, 3, p, p) at the resolution at which CLIP was trained."""
        same = tower.native == (self.patch, self.patch)
        return patches if same else TF.resize(patches, list(tower.native), antialias=True)


READOUTS: dict[str, type[Readout]] = {
    "released": Released,
    "attention_pool": AttentionPool,
    "maskclip": MaskCLIP,
    "tokens": Tokens,
    "crops": Crops,
}


def readout_of(readout: str | Readout) -> Readout:
    """A readout by name, or the one given.

    Raises:
        InputError: if there is none of that name.
    """
    if isinstance(readout, Readout):
        return readout
    check_choice("readout", readout, READOUTS, "or give a class_path")
    return READOUTS[readout]()
