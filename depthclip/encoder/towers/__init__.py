"""Image towers that run at any image size, one file per family."""

from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers import AttentionPoolLatent
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import nn

from depthclip.encoder.towers.base import Tower, TransformerTower, Trunk, to_map, to_multiples
from depthclip.encoder.towers.resnet import ResNetTower
from depthclip.encoder.towers.timm import ConvTower, MAPTower, TimmTower
from depthclip.encoder.towers.vit import ViTTower
from depthclip.errors import InputError

__all__ = [
    "ConvTower",
    "MAPTower",
    "ResNetTower",
    "TimmTower",
    "Tower",
    "TransformerTower",
    "Trunk",
    "ViTTower",
    "to_map",
    "to_multiples",
    "tower_of",
]


def tower_of(visual: nn.Module) -> Tower:
    """Return the tower of an open_clip `model.visual`.

    Raises:
        InputError: if no readout fits its family.
    """
    if isinstance(visual, ModifiedResNet):
        return ResNetTower(visual)
    if isinstance(visual, VisionTransformer):
        return ViTTower(visual)
    trunk = visual.trunk if isinstance(visual, TimmModel) else None
    if isinstance(trunk, TimmVisionTransformer) and isinstance(trunk.attn_pool, AttentionPoolLatent):
        return MAPTower(visual)
    if isinstance(trunk, ConvNeXt):
        return ConvTower(visual)
    raise InputError(
        f"the model's image tower ({type(visual).__name__}) has no dense readout; "
        "choose a model with a ResNet, ViT, SigLIP or ConvNeXt image tower"
    )
