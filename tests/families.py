"""Small models of every family of open_clip, built from open_clip's configurations with fewer and narrower layers."""

from typing import Any

import open_clip
import pytest
import timm
import torch

VIT = {"img_size": 64, "embed_dim": 48, "depth": 3, "num_heads": 3}
PATCH_14 = VIT | {"img_size": 56}
TIMM: dict[str, dict[str, Any]] = {  # arguments of timm.create_model
    "ViT-B-16-SigLIP": VIT,
    "PE-Core-B-16": VIT,
    "PE-Core-bigG-14-448": PATCH_14,  # without class token
    "EVA01-g-14": PATCH_14,
    "EVA02-B-16": VIT,  # with rotary positions
    "EVA02-E-14": PATCH_14,  # with norms after attention and feed-forward network
    "MobileCLIP-B": {"img_size": 64, "depth": 2},
    "MobileCLIP2-L-14": PATCH_14,
    "MobileCLIP2-S0": {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 64)},
    "MobileCLIP2-S4": {"layers": (1, 1, 1, 1, 1), "embed_dims": (8, 16, 32, 64, 64)},
    "ViTamin-S": {"img_size": 64, "depth": 2},
    "ViTamin-XL-256": {"img_size": 64, "depth": 2},  # without positions
    "vit_medium_patch16_gap_256": VIT,
    "convnext_base": {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64)},
    "swin_base_patch4_window7_224": {"depths": (1, 1, 2, 1), "embed_dim": 16, "num_heads": (1, 1, 2, 2)},
    "vit_relpos_medium_patch16_cls_224": VIT,
}
NATIVE_VIT = {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
NATIVE: dict[str, dict[str, Any]] = {  # entries of open_clip's vision_cfg
    "ViT-B-16": NATIVE_VIT,
    "ViT-M-16-alt": NATIVE_VIT,
    "ViT-L-14-CLIPA": NATIVE_VIT,
    "ViT-H-14-worldwide": NATIVE_VIT,
    "coca_ViT-B-32": NATIVE_VIT | {"attn_pooler_heads": 2},
    "coca_base": NATIVE_VIT,
    "RN50": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8},
}
PATCHES_UNREAD = ("swin_base_patch4_window7_224", "vit_relpos_medium_patch16_cls_224")
DENSE = tuple(name for name in (*TIMM, *NATIVE) if name not in PATCHES_UNREAD)


def small_model(name: str, patch: pytest.MonkeyPatch, size: tuple[int, int] | None = None) -> Any:
    """Return a small open_clip model with the configuration of a name, and weights that are random and not degenerate.

    Args:
        name: name of an open_clip model.
        patch: used to pass arguments to timm.
        size: (height, width) of the images of a native tower; that of the table if None.
    """
    config = open_clip.get_model_config(name)
    small = TIMM.get(name, {})
    vision = config["vision_cfg"] | {"image_size": small.get("img_size", config["vision_cfg"]["image_size"])}
    text = config["text_cfg"] | {"width": 16, "heads": 2, "layers": 1, "vocab_size": 100}
    vision |= NATIVE.get(name, {}) | ({"image_size": size} if size else {})
    parts = {"vision_cfg": vision, "text_cfg": text, "embed_dim": 16}
    if "multimodal_cfg" in config:
        parts["multimodal_cfg"] = config["multimodal_cfg"] | {"width": 16, "heads": 2, "layers": 1}
    create = timm.create_model
    torch.manual_seed(0)
    with patch.context() as within:
        within.setattr(timm, "create_model", lambda kind, **options: create(kind, **{**options, **small}))
        model = open_clip.create_model(name, **parts)
    for key, value in model.named_parameters():
        deviation = 0.3 if value.ndim < 2 or "pos" in key else value[0].numel() ** -0.5
        value.data.copy_(value.data + deviation * torch.randn(value.shape))
    return model.requires_grad_(False).eval()
