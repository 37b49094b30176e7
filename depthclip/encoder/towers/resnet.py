"""The ResNet towers of CLIP."""

from typing import Any

from open_clip.modified_resnet import ModifiedResNet
from timm.layers import AttentionPool2d
from torch import Tensor

from depthclip.encoder.towers.base import Tower, Trunk

STAGES = 5  # stem and layer1 to layer4


class ResNetTower(Tower):
    """A ModifiedResNet of open_clip.

    `trunk` returns layer4, and `pool` applies the attention pool with positions resampled to the grid. The blocks are
    the stem (0) and layer1 to layer4 (1 to 4).
    """

    channels_last = True

    def __init__(self, visual: ModifiedResNet) -> None:
        side = visual.image_size
        super().__init__("ResNet", 32, (side, side), STAGES, visual.output_dim)
        self.visual: Any = visual
        self.attend_mean = self._attention_pool("token")
        self.attend_patches = self._attention_pool("")

    def _attention_pool(self, pool_type: str) -> AttentionPool2d:
        # timm's pool is equal to CLIP's and accepts any grid; the two share their parameters
        original = self.visual.attnpool
        pool = AttentionPool2d(
            original.k_proj.in_features,
            feat_size=self.native[0] // 32,
            out_features=original.c_proj.out_features,
            num_heads=original.num_heads,
            head_dim=None,
            qkv_separate=True,
            pool_type=pool_type,
            device="meta",
        )
        for name, source in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("proj", "c_proj")):
            ours, theirs = getattr(pool, name), getattr(original, source)
            ours.weight, ours.bias = theirs.weight, theirs.bias
        pool.pos_embed = original.positional_embedding
        return pool

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Return layer4, (B, C, h, w), and the requested intermediate maps."""
        indices = self.block_indices(layers)
        computed = sorted({*indices, STAGES - 1})
        outputs = self.visual.forward_intermediates(images, indices=computed, intermediates_only=True)
        maps = dict(zip(computed, outputs["image_intermediates"], strict=True))
        values = maps[STAGES - 1]
        return Trunk(values, (values.shape[-2], values.shape[-1]), tuple(maps[index] for index in indices))

    def pool(self, trunk: Trunk) -> Tensor:
        """Return the output of the attention pool for the mean token, (B, D), not normalized."""
        return self.attend_mean(trunk.values)
