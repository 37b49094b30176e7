"""The image towers of open_clip, run at any image size and split where a dense readout needs to look inside.

A tower runs the unmodified layers up to the point at which readouts differ (`trunk`), and from there to the pooled
feature that open_clip's own `encode_image` gives (`pool`). Position tables are resampled from the pristine ones at
every call and the layers themselves are never changed, so that one size leaves no trace in the next.
"""

from typing import Any, NamedTuple

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers import AttentionPool2d, AttentionPoolLatent, resample_abs_pos_embed
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

from depthclip.errors import InputError


class Trunk(NamedTuple):
    """Features at the point where readouts part.

    Args:
        values: (B, C, h, w) for convolutional towers, (B, prefix + h*w, C) for transformers.
        grid: (h, w), the patches an image has.
    """

    values: Tensor
    grid: tuple[int, int]


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Puts the last h*w tokens of (B, prefix + h*w, C) on their grid, (B, C, h, w)."""
    height, width = grid
    return tokens[:, -height * width :].unflatten(1, (height, width)).permute(0, 3, 1, 2)


def to_multiples(images: Tensor, stride: int) -> Tensor:
    """Images (B, 3, H, W) at the nearest multiples of a stride; those that are multiples already are not touched."""
    size = [max(1, round(side / stride)) * stride for side in images.shape[-2:]]
    return images if list(images.shape[-2:]) == size else TF.resize(images, size, antialias=True)


class Tower(nn.Module):
    """A frozen image tower.

    Args:
        kind: what users call such a tower, for messages.
        stride: pixels from one patch to the next.
        native: (height, width) at which CLIP was trained.
        output_dim: D, the size of the joint space.
    """

    def __init__(self, kind: str, stride: int, native: tuple[int, int], output_dim: int | None = None) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.kind = kind
        self.stride = stride
        self.native = native

    def fit(self, images: Tensor) -> Tensor:
        """Resizes (B, 3, H, W) to the nearest multiples of the stride, so that the patches cover the whole image."""
        return to_multiples(images, self.stride)

    def trunk(self, images: Tensor) -> Trunk:
        """Normalised images (B, 3, H, W), H and W multiples of the stride, to the features that readouts start from."""
        raise NotImplementedError

    def pool(self, trunk: Trunk) -> Tensor:
        """The pooled feature of the unmodified tower, (B, D), not normalised."""
        raise NotImplementedError


class ResNetTower(Tower):
    """CLIP's ModifiedResNet: `trunk` is layer4, `pool` the attention pool with positions resampled to the grid."""

    def __init__(self, visual: ModifiedResNet) -> None:
        side = visual.image_size
        super().__init__("ResNet", stride=32, native=(side, side), output_dim=visual.output_dim)
        self.visual: Any = visual
        self.attend_mean = self._attention_pool("token")
        self.attend_patches = self._attention_pool("")

    def _attention_pool(self, pool_type: str) -> AttentionPool2d:
        # timm's pool computes what CLIP's does and takes any grid; it shares CLIP's parameters
        own = self.visual.attnpool
        pool = AttentionPool2d(
            own.k_proj.in_features,
            feat_size=self.native[0] // 32,
            out_features=own.c_proj.out_features,
            num_heads=own.num_heads,
            head_dim=None,
            qkv_separate=True,
            pool_type=pool_type,
            device="meta",
        )
        for ours, theirs in ((pool.q, own.q_proj), (pool.k, own.k_proj), (pool.v, own.v_proj), (pool.proj, own.c_proj)):
            ours.weight, ours.bias = theirs.weight, theirs.bias
        pool.pos_embed = own.positional_embedding
        return pool

    def trunk(self, images: Tensor) -> Trunk:
        (values,) = self.visual.forward_intermediates(images, indices=1, intermediates_only=True)["image_intermediates"]
        return Trunk(values, (values.shape[-2], values.shape[-1]))

    def pool(self, trunk: Trunk) -> Tensor:
        return self.attend_mean(trunk.values)


class ViTTower(Tower):
    """open_clip's own VisionTransformer: `trunk` is what enters the last block, `pool` the rest of the tower."""

    def __init__(self, visual: VisionTransformer) -> None:
        if visual.attn_pool is not None:
            raise InputError(
                "the model's image tower ends in CoCa's attentional pooler, which no readout fits; "
                "choose a CLIP, SigLIP or ConvNeXt model"
            )
        height, width = visual.image_size
        super().__init__("ViT", visual.patch_size[0], (height, width), visual.output_dim)
        self.visual: Any = visual

    @property
    def last_block(self) -> Any:
        """The block in which dense readouts differ."""
        return self.visual.transformer.resblocks[-1]

    def trunk(self, images: Tensor) -> Trunk:
        visual = self.visual
        patches = visual.conv1(images)
        grid = (patches.shape[-2], patches.shape[-1])
        start = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        positions = resample_abs_pos_embed(visual.positional_embedding[None], list(grid), list(visual.grid_size))
        values = visual.ln_pre(torch.cat([start, patches.flatten(2).mT], dim=1) + positions.to(patches.dtype))
        for block in visual.transformer.resblocks[:-1]:
            values = block(values)
        return Trunk(values, grid)

    def project(self, values: Tensor) -> Tensor:
        """Final norm and projection into the joint space, (..., C) -> (..., D)."""
        values = self.visual.ln_post(values)
        return values if self.visual.proj is None else values @ self.visual.proj

    def pool(self, trunk: Trunk) -> Tensor:
        values = self.last_block(trunk.values)
        if self.visual.pool_type == "tok":
            return self.project(values[:, 0])
        if self.visual.final_ln_after_pool:
            return self.project(values[:, 1:].mean(1))
        values = self.visual.ln_post(values[:, 1:]).mean(1)
        return values if self.visual.proj is None else values @ self.visual.proj


class TimmTower(Tower):
    """A timm image tower: `trunk` is its final feature map or tokens, `pool` its head and open_clip's projection."""

    def __init__(self, visual: Any, kind: str, stride: int) -> None:
        height, width = visual.image_size
        super().__init__(kind, stride, (height, width))
        self.visual: Any = visual

    def pool(self, trunk: Trunk) -> Tensor:
        return self.visual.head(self.visual.trunk.forward_head(trunk.values))

    def cells(self, trunk: Trunk) -> Tensor:
        """Every patch of (B, ...) as an input of its own to the head, (B*h*w, ...)."""
        raise NotImplementedError

    def pool_each(self, trunk: Trunk) -> Tensor:
        """Each patch pooled as if it were the whole image, (B, D, h, w), not normalised."""
        each = self.visual.head(self.visual.trunk.forward_head(self.cells(trunk)))
        return to_map(each.unflatten(0, (len(trunk.values), -1)), trunk.grid)


class MAPTower(TimmTower):
    """timm's vision transformers with an attention-pool (MAP) head: SigLIP and SigLIP 2."""

    def __init__(self, visual: Any) -> None:
        trunk = visual.trunk
        super().__init__(visual, "MAP", stride=trunk.patch_embed.patch_size[0])
        # what timm's own dynamic_img_size=True sets: positions are resampled at every call
        trunk.dynamic_img_size = True
        trunk.patch_embed.strict_img_size = False
        trunk.patch_embed.flatten = False
        trunk.patch_embed.output_fmt = "NHWC"

    def trunk(self, images: Tensor) -> Trunk:
        grid = (images.shape[-2] // self.stride, images.shape[-1] // self.stride)
        return Trunk(self.visual.trunk.forward_features(images), grid)

    def cells(self, trunk: Trunk) -> Tensor:
        height, width = trunk.grid
        return trunk.values[:, -height * width :].flatten(0, 1)[:, None]


class ConvTower(TimmTower):
    """timm's convolutional towers with a norm-and-project head: ConvNeXt."""

    def __init__(self, visual: Any) -> None:
        super().__init__(visual, "ConvNeXt", stride=visual.trunk.feature_info[-1]["reduction"])

    def trunk(self, images: Tensor) -> Trunk:
        values = self.visual.trunk.forward_features(images)
        return Trunk(values, (values.shape[-2], values.shape[-1]))

    def cells(self, trunk: Trunk) -> Tensor:
        return trunk.values.permute(0, 2, 3, 1).flatten(0, 2)[..., None, None]


def tower_of(visual: nn.Module) -> Tower:
    """The tower for open_clip's `model.visual`.

    Raises:
        InputError: if it is of a kind that has no dense readout.
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
