"""Readouts against attention written out in NumPy on exported weights, and against the libraries' output."""

import json
from pathlib import Path

import numpy as np
import pytest
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
from depthclip.encoder.readouts import Released, with_arguments
from depthclip.encoder.towers import Trunk, tower_of
from depthclip.study.command import parse
from experiments import readouts as study
from tests.exported import (
    SIZES,
    assert_near,
    attend,
    block_input,
    exported,
    linear,
    map_head,
    norm,
    unit,
    vit_features,
)


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
