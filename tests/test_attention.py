"""The parts of blocks against the blocks of the libraries."""

import pytest
import timm
import torch
from open_clip.transformer import CustomResidualAttentionBlock, ResidualAttentionBlock
from timm.models.vision_transformer import ParallelScalingBlock
from torch.nn import functional as F

from depthclip.encoder.attention import parts_of, similarity_weights
from tests.conftest import randomize_norms

EVAS = {
    "PE": ("vit_pe_core_tiny_patch16_384", {"img_size": 64}),
    "EVA-01": ("eva_giant_patch14_clip_224", {"img_size": 56}),
    "EVA-02": ("eva02_base_patch16_clip_224", {"img_size": 64}),
    "EVA-02-E": ("eva02_enormous_patch14_clip_224", {"img_size": 56}),
}


def output_of(block, x, rope=None):
    """The output of a block, put together from its parts."""
    parts = parts_of(block, rope)
    return parts.output(x, F.scaled_dot_product_attention(*parts.heads(x)), residual=True, feed_forward=True)


def randomized(module):
    """A module whose biases, norms and layer scales are not degenerate."""
    randomize_norms(module)
    for key, value in module.named_parameters():
        if key.endswith("bias") or "gamma" in key:
            torch.nn.init.normal_(value)
    return module.requires_grad_(False).eval()


@pytest.mark.parametrize("scale", [None, 0.3])
def test_parts_of_a_block_of_open_clip(scale):
    block = randomized(ResidualAttentionBlock(32, 4, ls_init_value=scale))
    x = torch.randn(2, 7, 32)
    torch.testing.assert_close(output_of(block, x), block(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{}, {"init_values": 0.3, "qk_norm": True, "scale_attn_norm": True}])
def test_parts_of_a_block_of_timm(options):
    model = timm.create_model("vit_tiny_patch16_224", depth=1, embed_dim=48, num_heads=3, **options)
    block = randomized(model).blocks[0]
    x = torch.randn(2, 7, 48)
    torch.testing.assert_close(output_of(block, x), block(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", EVAS)
def test_parts_of_a_block_of_eva(name):
    architecture, options = EVAS[name]
    model = randomized(
        timm.create_model(architecture, depth=2, embed_dim=96, num_heads=3, dynamic_img_size=True, **options)
    )
    grid = (2, 5)
    rope = None if model.rope is None else model.rope.get_embed(shape=grid)
    assert (rope is None) == (name in ("EVA-01", "EVA-02-E"))
    block, x = model.blocks[-1], torch.randn(2, model.num_prefix_tokens + 10, 96)
    torch.testing.assert_close(output_of(block, x, rope), block(x, rope=rope), atol=1e-5, rtol=0)


def test_blocks_of_other_types_are_refused_by_name():
    for block in (CustomResidualAttentionBlock(32, 4), ParallelScalingBlock(48, 3)):
        with pytest.raises(ValueError, match=rf"{type(block).__name__} .*; use tokens or crops"):
            parts_of(block)


def test_weights_of_similar_positions_add_up_to_one():
    weights = similarity_weights(torch.ones(1, 4, 3), threshold=1.2, sharpness=3.0)
    torch.testing.assert_close(weights, torch.eye(4)[None])  # all are below the threshold, and each keeps itself
    weights = similarity_weights(torch.randn(2, 9, 5), threshold=1.2, sharpness=3.0)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 9))
