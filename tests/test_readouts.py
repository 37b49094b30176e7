"""Readouts against attention written out in NumPy on exported weights, and against the libraries' output."""

import numpy as np
import pytest
import scipy.special
import torch
from torch.nn import functional as F

from depthclip.encoder import AttentionPool, Crops, MaskCLIP, Needs, Tokens
from depthclip.encoder.readouts import Released
from depthclip.encoder.towers import Trunk, tower_of

SIZES = [(64, 64), (96, 32)]


def assert_near(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def exported(module):
    """The parameters of a module as double-precision NumPy arrays."""
    return {key: value.detach().double().numpy() for key, value in module.named_parameters()}


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(x, weights, name, eps):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(x):
    return x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2


def attend(q, k, v, heads):
    """softmax(q kᵀ / sqrt(d)) v of each head, for q (M, C), k and v (N, C)."""
    outputs = []
    for part in np.split(np.arange(q.shape[1]), heads):
        outputs.append(scipy.special.softmax(q[:, part] @ k[:, part].T / np.sqrt(len(part)), axis=1) @ v[:, part])
    return np.concatenate(outputs, axis=1)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def vit_features(visual, tokens, attention, residual):
    """The last block of open_clip's ViT, final norm and projection: (1 + N, C) to (1 + N, D), unit length."""
    weights = exported(visual)
    block = "transformer.resblocks.1"
    x = norm(tokens, weights, f"{block}.ln_1", 1e-5)
    qkv = x @ weights[f"{block}.attn.in_proj_weight"].T + weights[f"{block}.attn.in_proj_bias"]
    q, k, v = np.split(qkv, 3, axis=1)
    x = linear(attend(q, k, v, heads=2) if attention else v, weights, f"{block}.attn.out_proj")
    if residual:
        x = tokens + x
        hidden = gelu(linear(norm(x, weights, f"{block}.ln_2", 1e-5), weights, f"{block}.mlp.c_fc"))
        x = x + linear(hidden, weights, f"{block}.mlp.c_proj")
    return unit(norm(x, weights, "ln_post", 1e-5) @ weights["proj"])


def block_input(visual, images):
    """The input of the last block of open_clip's ViT, (1 + N, C)."""
    outputs = visual.forward_intermediates(
        images, indices=[0], intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
    )
    parts = outputs["image_intermediates_prefix"][0], outputs["image_intermediates"][0]
    return torch.cat(parts, dim=1)[0].detach().double().numpy()


@pytest.mark.parametrize(
    ("readout", "attention", "residual"),
    [(Tokens(), True, True), (MaskCLIP(), False, False), (MaskCLIP(reduced=False), False, True)],
)
def test_readouts_of_a_vit_are_its_last_block_written_out(clip, readout, attention, residual):
    encoder = clip("small-vit", readout)
    image = torch.rand(1, 3, 64, 64)
    normalized = (image - encoder.mean) / encoder.std
    expected = vit_features(encoder.model.visual, block_input(encoder.model.visual, normalized), attention, residual)
    dense = encoder.encode_image(image).dense
    np.testing.assert_allclose(dense[0].flatten(1).T.detach(), expected[1:], atol=1e-5)
    if attention:  # the formula is open_clip's
        pooled = encoder.model.encode_image(normalized, normalize=True)
        np.testing.assert_allclose(pooled[0].detach(), expected[0], atol=1e-5)


def test_tokens_are_those_of_open_clip(clip):
    encoder = clip("small-vit", "tokens")
    image = torch.rand(2, 3, 64, 64)
    visual = encoder.model.visual
    visual.output_tokens = True
    _, tokens = visual((image - encoder.mean) / encoder.std)  # after the final norm
    dense = encoder.encode_image(image).dense
    assert_near(dense.flatten(2).mT, F.normalize(tokens @ visual.proj, dim=-1))


def map_head(trunk, tokens):
    """timm's attention-pool head over tokens, (N, C) to (C,), unit length."""
    weights = exported(trunk.attn_pool)
    q = linear(weights["latent"][0], weights, "q")
    k, v = np.split(linear(tokens, weights, "kv"), 2, axis=1)
    x = linear(attend(q, k, v, trunk.attn_pool.num_heads), weights, "proj")
    hidden = gelu(linear(norm(x, weights, "norm", 1e-6), weights, "mlp.fc1"))
    return unit(x + linear(hidden, weights, "mlp.fc2"))[0]


@pytest.mark.parametrize("size", SIZES)
def test_maskclip_pools_each_token_of_siglip_as_the_only_key(siglip, size):
    image = torch.rand(1, 3, *size)
    siglip.set_input_size(size)
    tokens = siglip.trunk.forward_features(image)[0].double().numpy()
    np.testing.assert_allclose(map_head(siglip.trunk, tokens), F.normalize(siglip(image), dim=-1)[0], atol=1e-5)
    dense = MaskCLIP()(tower_of(siglip), image, Needs()).dense
    expected = np.stack([map_head(siglip.trunk, tokens[[n]]) for n in range(len(tokens))])
    assert dense.shape == (1, 48, size[0] // 16, size[1] // 16)
    np.testing.assert_allclose(dense[0].flatten(1).T, expected, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_tokens_of_convnext_are_the_head_norm_and_projection_of_each_cell(convnext, size):
    image = torch.rand(1, 3, *size)
    cells = convnext.trunk.forward_features(image)[0].flatten(1).T.double().numpy()
    expected = norm(cells, exported(convnext.trunk.head), "norm", 1e-6) @ exported(convnext.head)["proj.weight"].T
    dense = Tokens()(tower_of(convnext), image, Needs()).dense
    np.testing.assert_allclose(dense[0].flatten(1).T, unit(expected), atol=1e-5)


@pytest.mark.parametrize("grid", [(2, 2), (4, 3)])
def test_attention_pool_queries_with_each_patch(clip, grid):
    visual = clip("small-resnet", "attention_pool").model.visual
    weights = exported(visual.attnpool)
    table = torch.from_numpy(weights["positional_embedding"])
    positions = table[1:].T.unflatten(1, (2, 2))[None]
    positions = F.interpolate(positions, grid, mode="bicubic", antialias=True)[0].flatten(1).T
    x = torch.randn(1, 256, *grid)
    tokens = x[0].flatten(1).T.double().numpy()
    tokens = np.concatenate([tokens.mean(0, keepdims=True), tokens]) + np.concatenate([table[:1], positions])
    q, k, v = (linear(tokens, weights, f"{name}_proj") for name in "qkv")
    expected = unit(linear(attend(q, k, v, visual.attnpool.num_heads), weights, "c_proj"))
    tower, trunk = tower_of(visual), Trunk(x, grid)
    dense = AttentionPool().dense(tower, trunk)
    np.testing.assert_allclose(dense[0].flatten(1).T.detach(), expected[1:], atol=1e-5)
    np.testing.assert_allclose(F.normalize(tower.pool(trunk), dim=-1)[0].detach(), expected[0], atol=1e-5)


def test_maskclip_of_equal_patches_is_open_clips_attention(clip):
    """If all keys and values are equal, attention of any weights returns the projected value."""
    visual = clip("small-resnet", "maskclip").model.visual
    visual.attnpool.positional_embedding.data.zero_()
    x = torch.randn(1, 256, 1, 1).expand(1, 256, 2, 2)
    expected = F.normalize(visual.attnpool(x), dim=-1)
    dense = MaskCLIP().dense(tower_of(visual), Trunk(x, (2, 2)))
    assert_near(dense.flatten(2).mT[0], expected.expand(4, -1))


def test_released_keeps_every_second_channel_of_unit_features():
    class Wide(torch.nn.Module):
        output_dim = 4

    x = torch.randn(1, 8, 2, 3)
    expected = (x / x.norm(dim=1, keepdim=True))[:, ::2]
    torch.testing.assert_close(Released().dense(Wide(), Trunk(x, (2, 3))), expected)


def test_crops_are_encoded_as_images(clip):
    """Patches are cut out by hand from the image with its border repeated, and encoded by open_clip."""
    encoder = clip("small-resnet", Crops(patch=64, stride=32, batch=5))
    image = torch.rand(1, 3, 96, 128)
    dense = encoder.encode_image(image).dense
    assert dense.shape == (1, 48, 3, 4)
    padded = F.pad((image - encoder.mean) / encoder.std, (16,) * 4, mode="replicate")
    for row, column in ((0, 0), (1, 2), (2, 3)):
        patch = padded[..., row * 32 : row * 32 + 64, column * 32 : column * 32 + 64]
        assert_near(dense[..., row, column], encoder.model.encode_image(patch, normalize=True))


def test_crops_pool_the_whole_image(clip):
    encoder = clip("small-resnet", Crops())
    image = torch.rand(2, 3, 64, 64)
    expected = encoder.model.encode_image((image - encoder.mean) / encoder.std, normalize=True)
    assert_near(encoder.encode_image(image, Needs(pooled=True)).pooled, expected)


def test_a_stride_of_crops_that_does_not_fit_the_patch_is_refused():
    with pytest.raises(ValueError, match="stride 65"):
        Crops(64, 65)


@pytest.mark.parametrize(
    ("name", "readout"),
    [
        ("small-resnet", "released"),
        ("small-resnet", "attention_pool"),
        ("small-resnet", "maskclip"),
        ("small-vit", "tokens"),
        ("small-vit", "maskclip"),
    ],
)
def test_maps_have_the_grid_of_the_image(clip, name, readout):
    encoder = clip(name, readout)
    stride = {"small-resnet": 32, "small-vit": 16}[name]
    for height, width, grid in (
        (2 * stride, 5 * stride, (2, 5)),
        (4 * stride - 7, 3 * stride + 5, (4, 3)),
    ):
        assert encoder.encode_image(torch.rand(1, 3, height, width)).dense.shape == (1, 48, *grid)
