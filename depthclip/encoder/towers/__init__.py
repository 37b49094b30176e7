"""Image towers that run at any image size, one file per family."""

from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers import AttentionPoolLatent
from timm.models.convnext import ConvNeXt
from timm.models.eva import Eva
from timm.models.fastvit import FastVit
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import nn

from depthclip.encoder.towers.base import BlockTower, Tower, TransformerTower, Trunk, to_map, to_multiples
from depthclip.encoder.towers.coca import CoCaTower
from depthclip.encoder.towers.conv import ConvTower
from depthclip.encoder.towers.pooled import PooledTower
from depthclip.encoder.towers.resnet import ResNetTower
from depthclip.encoder.towers.timm import TimmTower
from depthclip.encoder.towers.timm_vit import MAPTower, TokenTower
from depthclip.encoder.towers.tips import TIPSTower
from depthclip.encoder.towers.vit import ViTTower

__all__ = [
    "BlockTower",
    "CoCaTower",
    "ConvTower",
    "MAPTower",
    "PooledTower",
    "ResNetTower",
    "TIPSTower",
    "TimmTower",
    "TokenTower",
    "Tower",
    "TransformerTower",
    "Trunk",
    "ViTTower",
    "to_map",
    "to_multiples",
    "tower_of",
]

LIMITS: dict[type[nn.Module], str] = {
    SwinTransformer: "whose attention windows are made for its native size",
    VisionTransformerRelPos: "whose relative positions are made for its native size",
}


def tower_of(visual: nn.Module) -> Tower:
    """Return the tower of an open_clip `model.visual`.

    It is a `PooledTower` if no readout of patches fits its family.
    """
    if isinstance(visual, ModifiedResNet):
        return ResNetTower(visual)
    if isinstance(visual, VisionTransformer):
        return native_vit_tower(visual)
    if isinstance(visual, TimmModel):
        return timm_tower(visual)
    return PooledTower(visual, type(visual).__name__, "whose family is not supported")


def native_vit_tower(visual: VisionTransformer) -> Tower:
    """Return the tower of a VisionTransformer of open_clip."""
    if visual.attn_pool is None:
        return ViTTower(visual)
    if visual.attn_pool_contrastive is None and visual.pool_type == "tok":
        return CoCaTower(visual)
    return PooledTower(visual, "CoCa", "whose pooler is not the one of open_clip's published weights")


def timm_tower(visual: TimmModel) -> Tower:
    """Return the tower of a timm model within open_clip."""
    trunk = visual.trunk
    kind = type(trunk)
    if kind in (ConvNeXt, FastVit):
        return ConvTower(visual)
    if kind in (TimmVisionTransformer, Eva):
        if trunk.attn_pool is None:
            return TokenTower(visual)
        if isinstance(trunk.attn_pool, AttentionPoolLatent) and trunk.attn_pool.pos_embed is None:
            return MAPTower(visual)
        return PooledTower(visual, kind.__name__, "whose pooling head cannot be applied to single patches")
    return PooledTower(visual, kind.__name__, LIMITS.get(kind, "whose family is not supported"))
