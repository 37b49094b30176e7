"""Readouts against attention written out in NumPy on exported weights, and against the libraries' output."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import torch
from torch.nn import functional as F

from depthclip.__main__ import main
from depthclip.encoder import (
    NACLIP,
    SCLIP,
    Aggregate,
    AttentionPool,
    ClearCLIP,
    Crops,
    MaskCLIP,
    Needs,
    Tokens,
    readouts_of,
)
from depthclip.encoder.readouts import Readout, Released, with_arguments
from depthclip.encoder.towers import Trunk, tower_of
from depthclip.study.command import parse
from experiments import readouts as study
from tests.conftest import timm_visual

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


class Fixed(Readout):
    """A readout that returns a given map."""

    def __init__(self, values):
        super().__init__()
        self.register_buffer("values", values)

    def dense(self, tower, trunk):
        return self.values


class Nothing(torch.nn.Module):
    """A tower whose features no readout reads."""

    def to_stride(self, images):
        return images

    def trunk(self, images, layers):
        return Trunk(images, (1, 1))


def aggregated(values, *switches):
    return Aggregate(Fixed(values), *switches)(Nothing(), torch.zeros(len(values), 3, 8, 8), Needs()).dense


@pytest.mark.parametrize("switches", [(), (0.0, 1.0), (2.0, 100.0)])
def test_aggregate_leaves_a_constant_map_unchanged(switches):
    constant = torch.randn(2, 8, 1, 1).expand(2, 8, 3, 4)  # of any length
    assert_near(aggregated(constant, *switches), constant)


@pytest.mark.parametrize("switches", [(1.0, 10.0), (1.4, 3.0)])
def test_aggregate_is_the_weighted_mean_of_similar_cells(switches):
    values = torch.randn(2, 6, 2, 5) + 0.5
    dense = aggregated(values, *switches)
    for k in range(2):
        x = values[k].flatten(1).T.double().numpy()
        similarity = unit(x) @ unit(x).T
        logits = switches[1] * (similarity - switches[0] * similarity.mean())
        logits[logits < 0] = -np.inf
        expected = unit(scipy.special.softmax(logits, axis=1) @ x) * np.linalg.norm(x, axis=1, keepdims=True)
        np.testing.assert_allclose(dense[k].flatten(1).T, expected, atol=1e-5)


def test_aggregate_fits_where_the_aggregated_readout_fits(clip):
    assert clip("small-resnet", Aggregate("attention_pool")).encode_image(torch.rand(1, 3, 64, 64)).dense.shape[1] == 48
    with pytest.raises(ValueError, match=r"readout Aggregate.* does not fit a ResNet tower"):
        clip("small-resnet", Aggregate("tokens"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SCLIP("qq"), r"similarities 'qq' must be a list; use"),
        (lambda: SCLIP([]), r"similarities \[\] must be a list; use"),
        (lambda: ClearCLIP(["qv"]), r"similarity 'qv' is unknown; choose one of qq, kk"),
        (lambda: NACLIP(std=0), r"std 0 must be"),
        (lambda: Aggregate("none"), r"readout 'none' is unknown; choose one of"),
        (lambda: Aggregate(threshold=-1), r"threshold -1 must be"),
        (lambda: Aggregate(sharpness=0), r"sharpness 0 must be"),
    ],
)
def test_switches_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_attention_variants_are_refused_on_other_towers(clip):
    with pytest.raises(ValueError, match=r"SCLIP does not fit a ResNet tower; choose one of released"):
        clip("small-resnet", "sclip")


def test_the_recipe_shows_every_switch():
    assert with_arguments("naclip") == {
        "class_path": "depthclip.encoder.NACLIP",
        "init_args": {"std": 5.0, "similarities": ["kk"], "residual": False, "feed_forward": False},
    }
    nested = {"class_path": "depthclip.encoder.Aggregate", "init_args": {"readout": "crops", "threshold": 0.5}}
    crops = {"class_path": "depthclip.encoder.Crops", "init_args": {"patch": 64, "stride": 32, "batch": 256}}
    assert with_arguments(nested)["init_args"] == {"readout": crops, "threshold": 0.5}
    assert with_arguments("released") == {"class_path": "depthclip.encoder.Released", "init_args": {}}
    mine = {"class_path": "mine.Blurred", "init_args": {"reach": 1}}
    assert with_arguments(mine) == mine


def test_the_readouts_that_fit_a_model_are_listed(small):
    assert readouts_of("small-vit") == ["maskclip", "tokens", "sclip", "clearclip", "naclip", "crops", "aggregate"]
    assert readouts_of("tiny-rooms") == ["released", "attention_pool", "maskclip", "crops", "aggregate"]
    assert readouts_of("convnext_base") == ["tokens", "crops"]
    with pytest.raises(ValueError, match="open_clip has no model 'ViT-B-15'"):
        readouts_of("ViT-B-15")


def test_metrics_json_shows_every_argument_of_the_readout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = ["--data.init_args.test_size=1", "--data.init_args.train_size=1", "--model.panels=0"]
    readout = "{class_path: depthclip.encoder.Aggregate, init_args: {readout: maskclip, threshold: 0.5}}"
    assert main(["test", "-c", "rooms", *few, f"--model.encoder.readout={readout}"]) == 0
    (path,) = tmp_path.glob("runs/**/metrics.json")
    inner = {"class_path": "depthclip.encoder.MaskCLIP", "init_args": {"reduced": True}}
    assert json.loads(path.read_text())["recipe"]["model"]["encoder"]["init_args"]["readout"] == {
        "class_path": "depthclip.encoder.Aggregate",
        "init_args": {"readout": inner, "threshold": 0.5, "sharpness": 10.0},
    }


def test_the_study_has_a_row_for_each_readout_that_fits(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent.parent)
    rows = [variant.name for variant in study.variants(parse(study.STUDY, ["--quick"]), {})]
    plain = ["attention_pool", "released", "maskclip", "crops"]
    assert rows == [*plain, "aggregate over attention_pool", "aggregate over maskclip"]
    rows = [variant.name for variant in study.variants(parse(study.STUDY, []), {})]
    assert rows[:6] == ["tokens", "maskclip", "sclip", "clearclip", "naclip", "crops"]
    assert rows[-1] == "proxy vit_pe_spatial_base_patch16_512"


def test_the_input_of_the_last_block_has_the_prefix_tokens():
    options = {"img_size": 64, "embed_dim": 48, "depth": 3, "num_heads": 3}
    visual = timm_visual("vit_tiny_patch16_224", global_pool="map", fc_norm=False, **options)  # with a class token
    image = torch.rand(1, 3, 64, 64)
    last_input = tower_of(visual).trunk(image).last_input
    assert last_input.shape == (1, 17, 48)
    assert_near(visual.trunk.norm(visual.trunk.blocks[-1](last_input)), visual.trunk.forward_features(image))
