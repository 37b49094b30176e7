"""Attention variants of the last block against formulas in NumPy on exported weights, and their switches."""

import numpy as np
import pytest
import scipy.special
import torch
from torch.nn import functional as F

from depthclip.encoder import (
    NACLIP,
    SCLIP,
    Aggregate,
    ClearCLIP,
    MaskCLIP,
    Needs,
)
from depthclip.encoder.towers import tower_of
from tests.conftest import timm_visual
from tests.exported import SIZES, assert_near, block_input, exported, gelu, linear, map_head, norm, unit

# the attention variants: (readout, matrices whose softmaxes are added, residual and feed-forward, Gaussian)
VARIANTS = [
    ("sclip", ("qq", "kk"), True, None),
    ("clearclip", ("qq",), False, None),
    ("naclip", ("kk",), False, 5.0),
    (NACLIP(2.0, ["vv", "qk"], True, True), ("vv", "qk"), True, 2.0),
]


def gaussian(grid, prefix, std):
    """exp(-r² / (2 std²)) between all patches of a grid, and 0 for prefix tokens."""
    places = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
    result = np.zeros((prefix + len(places), prefix + len(places)))
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            squared = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
            result[prefix + i, prefix + j] = np.exp(-squared / (2 * std**2))
    return result


def mix(q, k, v, similarities, bias):
    """The sum of softmax(a bᵀ / sqrt(d) + bias) v over the similarities ab, for heads (M, d)."""
    parts = {"q": q, "k": k, "v": v}
    logits = [parts[a] @ parts[b].T / np.sqrt(q.shape[1]) + bias for a, b in similarities]
    return sum(scipy.special.softmax(x, axis=1) for x in logits) @ v


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("readout", "similarities", "whole", "std"), VARIANTS)
def test_attention_variants_of_a_vit_are_written_out(clip, readout, similarities, whole, std, size):
    encoder = clip("small-vit", readout)
    visual, image = encoder.model.visual, torch.rand(1, 3, *size)
    grid = (size[0] // 16, size[1] // 16)
    x = encoder.tower.trunk((image - encoder.mean) / encoder.std).values[0].double().numpy()
    if size == (64, 64):
        np.testing.assert_allclose(x, block_input(visual, (image - encoder.mean) / encoder.std), atol=1e-5)
    weights, block = exported(visual), "transformer.resblocks.1"
    qkv = norm(x, weights, f"{block}.ln_1", 1e-5) @ weights[f"{block}.attn.in_proj_weight"].T
    heads = np.split(qkv + weights[f"{block}.attn.in_proj_bias"], 6, axis=1)  # q, k, v of two heads each
    bias = 0 if std is None else gaussian(grid, 1, std)
    y = np.concatenate([mix(*heads[head::2], similarities, bias) for head in (0, 1)], axis=1)
    y = linear(y, weights, f"{block}.attn.out_proj")
    if whole:
        y = x + y
        hidden = gelu(linear(norm(y, weights, f"{block}.ln_2", 1e-5), weights, f"{block}.mlp.c_fc"))
        y = y + linear(hidden, weights, f"{block}.mlp.c_proj")
    expected = unit(norm(y, weights, "ln_post", 1e-5) @ weights["proj"])[1:]
    dense = encoder.encode_image(image).dense
    assert dense.shape == (1, 48, *grid)
    np.testing.assert_allclose(dense[0].flatten(1).T, expected, atol=1e-5)


@pytest.fixture
def scaled_siglip():
    """A timm ViT with norms of queries and keys, layer scales and an attention-pool head."""
    options = {"img_size": 64, "embed_dim": 48, "depth": 3, "num_heads": 3, "qk_norm": True, "init_values": 0.5}
    return timm_visual("vit_tiny_patch16_224", global_pool="map", class_token=False, fc_norm=False, **options)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("readout", "similarities", "whole", "std"), VARIANTS)
def test_attention_variants_of_a_timm_vit_are_written_out(scaled_siglip, readout, similarities, whole, std, size):
    image, grid, trunk = torch.rand(1, 3, *size), (size[0] // 16, size[1] // 16), scaled_siglip.trunk
    trunk.set_input_size(size)
    x = trunk.forward_intermediates(image, indices=[1], output_fmt="NLC", intermediates_only=True)[0][0]
    x = x.double().numpy()
    weights = exported(trunk)
    heads = np.split(linear(norm(x, weights, "blocks.2.norm1", 1e-6), weights, "blocks.2.attn.qkv"), 9, axis=1)
    bias = 0 if std is None else gaussian(grid, 0, std)
    outputs = []
    for head in range(3):
        q, k, v = heads[head::3]
        q, k = norm(q, weights, "blocks.2.attn.q_norm", 1e-6), norm(k, weights, "blocks.2.attn.k_norm", 1e-6)
        outputs.append(mix(q, k, v, similarities, bias))
    y = linear(np.concatenate(outputs, axis=1), weights, "blocks.2.attn.proj") * weights["blocks.2.ls1.gamma"]
    if whole:
        y = x + y
        hidden = gelu(linear(norm(y, weights, "blocks.2.norm2", 1e-6), weights, "blocks.2.mlp.fc1"))
        y = y + linear(hidden, weights, "blocks.2.mlp.fc2") * weights["blocks.2.ls2.gamma"]
    y = norm(y, weights, "norm", 1e-6)
    expected = np.stack([map_head(trunk, y[[n]]) for n in range(len(y))])
    dense = readout_named(readout)(tower_of(scaled_siglip), image, Needs()).dense
    assert dense.shape == (1, 48, *grid)
    np.testing.assert_allclose(dense[0].flatten(1).T, expected, atol=1e-5)


def readout_named(readout):
    return {"sclip": SCLIP(), "clearclip": ClearCLIP(), "naclip": NACLIP()}.get(readout, readout)


@pytest.mark.parametrize("size", SIZES)
def test_the_own_attention_residual_and_feed_forward_give_the_unmodified_tower(clip, scaled_siglip, size):
    image = torch.rand(2, 3, *size)
    encoder = clip("small-vit", SCLIP(similarities=["qk"]))
    assert_near(encoder.encode_image(image).dense, clip("small-vit", "tokens").encode_image(image).dense)
    tower = tower_of(scaled_siglip)
    unmodified = MaskCLIP()(tower, image, Needs()).dense  # pools the tokens after the unmodified block one by one
    assert_near(SCLIP(similarities=["qk"])(tower, image, Needs()).dense, unmodified)


@pytest.mark.parametrize("size", SIZES)
def test_identity_attention_is_maskclip(clip, size):
    image = torch.rand(2, 3, *size)
    for identity, mask in (
        (ClearCLIP(["identity"]), MaskCLIP()),
        (SCLIP(["identity"]), MaskCLIP(reduced=False)),
    ):
        expected = clip("small-vit", mask).encode_image(image).dense
        assert_near(clip("small-vit", identity).encode_image(image).dense, expected)


@pytest.mark.parametrize("readout", ["sclip", "clearclip", "naclip", Aggregate("tokens")])
def test_pooled_features_and_intermediate_maps_are_those_of_the_unmodified_tower(clip, readout):
    needs, image = Needs(pooled=True, layers=(1, 0)), torch.rand(2, 3, 96, 32)
    encoder = clip("small-vit", readout)
    before = {key: value.clone() for key, value in encoder.model.state_dict().items()}
    features = encoder.encode_image(image, needs)
    expected = clip("small-vit", "tokens").encode_image(image, needs)
    torch.testing.assert_close(features.pooled, expected.pooled, rtol=0, atol=0)
    torch.testing.assert_close(features.layers, expected.layers, rtol=0, atol=0)
    assert not torch.equal(features.dense, expected.dense)
    torch.testing.assert_close(encoder.model.state_dict(), before, rtol=0, atol=0)


def test_pooled_features_of_a_timm_vit_are_those_of_the_library(scaled_siglip):
    image = torch.rand(2, 3, 64, 64)
    expected = F.normalize(scaled_siglip(image), dim=-1)
    _, maps = scaled_siglip.trunk.forward_intermediates(image, indices=[0, 2])
    features = NACLIP()(tower_of(scaled_siglip), image, Needs(pooled=True, layers=(2, 0)))
    assert_near(features.pooled, expected)
    torch.testing.assert_close(features.layers, (maps[1], maps[0]), rtol=0, atol=1e-6)


def test_attention_variants_are_refused_on_other_towers(clip):
    with pytest.raises(ValueError, match=r"SCLIP does not fit a ResNet tower; choose one of released"):
        clip("small-resnet", "sclip")


def test_the_input_of_the_last_block_has_the_prefix_tokens():
    options = {"img_size": 64, "embed_dim": 48, "depth": 3, "num_heads": 3}
    visual = timm_visual("vit_tiny_patch16_224", global_pool="map", fc_norm=False, **options)  # with a class token
    image = torch.rand(1, 3, 64, 64)
    last_input = tower_of(visual).trunk(image).last_input
    assert last_input.shape == (1, 17, 48)
    assert_near(visual.trunk.norm(visual.trunk.blocks[-1](last_input)), visual.trunk.forward_features(image))
