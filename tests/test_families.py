"""The image tower of every family of open_clip, against the libraries' own output at native and other sizes."""

import re
from collections import Counter
from copy import deepcopy
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import open_clip
import pytest
import torch
from torch.nn import functional as F

from depthclip import DepthCLIP
from depthclip.encoder import AttentionPool, Crops, FrozenCLIP, MaskCLIP, Needs, Tokens
from depthclip.encoder.loading import check_clip
from depthclip.encoder.readouts import READOUTS, check_fit, readout_for
from depthclip.encoder.towers import tower_of
from depthclip.errors import InputError
from depthclip.head import Head
from tests.families import DENSE, NATIVE, PATCHES_UNREAD, TIMM, small_model

MODELS = Path(open_clip.__file__).parent / "model_configs"


def assert_near(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@pytest.fixture
def model(request, monkeypatch):
    """The small model of a name; parametrize it indirectly."""
    if request.param not in open_clip.list_models():
        pytest.skip("this version of open_clip does not have it")
    return small_model(request.param, monkeypatch)


def other_sizes(tower):
    """A larger square and a wide image, whose sides are multiples of the stride."""
    height, width = tower.native
    return (2 * height, 2 * width), (height, width + 2 * tower.stride)


@pytest.mark.parametrize("model", [*TIMM, *NATIVE], indirect=True)
def test_pooled_features_are_those_of_open_clip(model):
    tower = tower_of(model.visual)
    image = torch.randn(2, 3, *tower.native)
    expected = model.encode_image(image, normalize=True)
    assert expected.std() > 0.01
    pooled = F.normalize(tower.pool(tower.trunk(tower.to_stride(image))), dim=-1)
    assert_near(pooled, expected)


@pytest.mark.parametrize("model", [name for name in TIMM if name in DENSE], indirect=True)
def test_timm_towers_at_other_sizes_are_timms(model):
    tower = tower_of(model.visual)
    for size in other_sizes(tower):
        image, copy = torch.randn(2, 3, *size), deepcopy(model.visual)
        if hasattr(copy.trunk, "set_input_size"):  # others are convolutional
            copy.set_input_size(size)
        trunk = tower.trunk(image, (-1, 0))
        final, maps = copy.trunk.forward_intermediates(image, indices=[0, tower.depth - 1])
        assert_near(trunk.layers[0], maps[-1])
        assert_near(trunk.layers[1], maps[0])
        assert_near(trunk.values, final)
        assert_near(tower.pool(trunk), copy(image))
        assert_near(tower.trunk(image).values, copy.trunk.forward_features(image))
        assert trunk.grid == (size[0] // tower.stride, size[1] // tower.stride)


def forced(name, model, size, patch):
    """The image tower that open_clip builds for a size, with positions resampled by open_clip."""
    other = small_model(name, patch, size)
    state = model.state_dict()
    open_clip.model.resize_pos_embed(state, other)
    other.load_state_dict(state)
    return other.visual


@pytest.mark.parametrize("name", [name for name in NATIVE if name != "RN50"])
def test_native_towers_at_other_sizes_are_open_clips(name, monkeypatch):
    model = small_model(name, monkeypatch)
    tower = tower_of(model.visual)
    for size in other_sizes(tower):
        visual, image = forced(name, model, size, monkeypatch), torch.randn(2, 3, *size)
        outputs = visual.forward_intermediates(image, indices=[0, 1])
        trunk = tower.trunk(image, (1, 0))
        assert_near(tower.pool(trunk), outputs["image_features"])
        assert_near(trunk.layers[0], outputs["image_intermediates"][1])
        assert_near(trunk.layers[1], outputs["image_intermediates"][0])


@pytest.mark.parametrize("model", DENSE, indirect=True)
def test_one_size_leaves_no_trace_in_the_next(model):
    visual = model.visual
    before = {key: (value, value.clone()) for key, value in visual.state_dict().items()}
    tower = tower_of(visual)
    image = torch.randn(1, 3, *tower.native)
    expected = tower.trunk(image, (0, -1))
    for size in other_sizes(tower):
        tower.pool(tower.trunk(torch.randn(1, 3, *size), (0,)))
    again = tower.trunk(image, (0, -1))
    for actual, value in zip((again.values, *again.layers), (expected.values, *expected.layers), strict=True):
        assert torch.equal(actual, value)
    after = visual.state_dict()
    assert after.keys() == before.keys()
    for key, (tensor, value) in before.items():
        assert after[key].data_ptr() == tensor.data_ptr()
        assert torch.equal(after[key], value)


def unit(values):
    return F.normalize(values, dim=-1)


@pytest.mark.parametrize("model", [name for name in TIMM if name not in PATCHES_UNREAD], indirect=True)
def test_dense_features_of_timm_towers_are_the_head_of_each_patch(model):
    visual, trunk = model.visual, model.visual.trunk
    tower = tower_of(visual)
    _, size = other_sizes(tower)
    image = torch.randn(1, 3, *size)
    dense = readout_for(tower)(tower, image, Needs()).dense
    values = tower.trunk(image).values[0]  # compared with timm's above
    if values.ndim == 3:  # a convolutional tower
        cells = trunk.head.fc if hasattr(trunk.head, "fc") else None
        each = values.flatten(1).T
        each = trunk.head.norm(each[..., None, None])[..., 0, 0] if hasattr(trunk.head, "norm") else each
        expected = visual.head(cells(each))
    else:
        patches = values[trunk.num_prefix_tokens :]
        if trunk.attn_pool is None:
            expected = visual.head(trunk.head(trunk.fc_norm(patches)))
        else:
            expected = torch.cat([trunk.head(trunk.fc_norm(trunk.attn_pool(patch[None, None]))) for patch in patches])
    assert_near(dense[0].flatten(1).T, unit(expected))


@pytest.mark.parametrize("model", ["MobileCLIP2-S0", "MobileCLIP2-S4"], indirect=True)
def test_the_mean_of_the_cells_of_fastvit_is_the_pooled_feature(model):
    tower = tower_of(model.visual)
    image = torch.randn(2, 3, *tower.native)
    assert_near(tower.pool_each(tower.trunk(image)).mean((2, 3)), model.visual(image))


@pytest.mark.parametrize("model", ["coca_ViT-B-32"], indirect=True)
def test_maskclip_of_coca_is_the_value_of_each_token_in_the_pooler(model):
    visual = model.visual
    tower, image = tower_of(visual), torch.randn(1, 3, 64, 64)
    pooler = visual.attn_pool
    tokens = pooler.ln_k(tower.trunk(image).values[0, 1:])
    heads = pooler.attn
    weight = heads.in_proj_weight[-16:] if heads.in_proj_weight is not None else heads.v_proj_weight
    values = heads.out_proj(tokens @ weight.T + heads.in_proj_bias[-16:])
    dense = MaskCLIP()(tower, image, Needs()).dense
    assert_near(dense[0].flatten(1).T, unit(visual.ln_post(values) @ visual.proj))


@pytest.mark.parametrize("model", ["vit_medium_patch16_gap_256", "EVA02-B-16"], indirect=True)
def test_tokens_ignore_how_many_prefix_tokens_the_mean_skips(model):
    """Mean pooling leaves out class tokens; a single patch must not be left out with them."""
    tower, trunk = tower_of(model.visual), model.visual.trunk
    trunk.global_pool = "avg"
    image = torch.randn(1, 3, 64, 64)
    dense = Tokens()(tower, image, Needs()).dense
    patches = tower.trunk(image).values[0, trunk.num_prefix_tokens :]
    assert_near(dense[0].flatten(1).T, unit(model.visual.head(trunk.head(trunk.fc_norm(patches)))))


@pytest.mark.parametrize("model", [*TIMM, *NATIVE], indirect=True)
def test_crops_read_every_tower(model):
    tower = tower_of(model.visual)
    readout = Crops(patch=48, stride=32)
    check_fit(readout, tower)
    image = torch.randn(1, 3, 64, 96)
    features = readout(tower, image, Needs(pooled=True))
    assert features.dense.shape[2:] == (2, 3)
    padded = F.pad(image, (8,) * 4, mode="replicate")
    corner = F.interpolate(padded[..., :48, :48], tower.native, mode="bilinear", antialias=True)
    assert_near(features.dense[..., 0, 0], model.encode_image(corner, normalize=True))


def readme_rows():
    """The readouts that the README lists for each tower."""
    text = (Path(__file__).parent.parent / "README.md").read_text()
    table = text.partition("| image tower |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {kind: row[2].split(", ") for row in rows for kind in row[0].split(", ")}


@pytest.mark.parametrize("model", [*TIMM, *NATIVE], indirect=True)
def test_the_readme_lists_the_readouts_that_fit_with_the_default_first(model):
    tower = tower_of(model.visual)
    listed = readme_rows()[tower.kind]
    for name, readout in READOUTS.items():
        if name in listed:
            check_fit(readout(), tower)
        else:
            with pytest.raises(InputError):
                check_fit(readout(), tower)
    if not tower.limit:
        assert type(readout_for(tower)) is READOUTS[listed[0]]


@pytest.mark.parametrize("model", PATCHES_UNREAD, indirect=True)
def test_towers_without_dense_features_are_refused_by_name_with_the_reason(model):
    tower = tower_of(model.visual)
    kind = type(model.visual.trunk).__name__
    message = f"{kind} tower, whose .* native size"
    for name, readout in READOUTS.items():
        if name != "crops":
            with pytest.raises(InputError, match=f"{message}; choose one of crops$"):
                check_fit(readout(), tower)
    with pytest.raises(InputError, match=f"'auto'.*{message}; set readout to crops"):
        readout_for(tower)
    with pytest.raises(InputError, match="intermediate maps are not read"):
        Crops()(tower, torch.randn(1, 3, 64, 64), Needs(layers=(0,)))
    image = torch.randn(1, 3, 64, 128)  # another size is resized
    expected = F.interpolate(image, tower.native, mode="bilinear", antialias=True)
    features = Crops(64, 64)(tower, image, Needs(pooled=True))
    assert_near(features.pooled, model.encode_image(expected, normalize=True))


FAMILIES = {  # family and default readout of the configurations of open_clip 3.3
    ("ViT", "Tokens"): 54,
    ("MAP", "MaskCLIP"): 33,
    ("timm VisionTransformer", "Tokens"): 19,
    ("ConvNeXt", "Tokens"): 11,
    ("ResNet", "AttentionPool"): 10,
    ("timm Eva", "Tokens"): 7,
    ("FastVit", "Tokens"): 6,
    ("CoCa", "MaskCLIP"): 2,
    ("SwinTransformer", "crops"): 1,
    ("VisionTransformerRelPos", "crops"): 1,
}


def test_every_configuration_of_open_clip_has_a_readout_or_a_reason():
    counts = Counter()
    for name in (path.stem for path in MODELS.glob("*.json")):  # list_models() has models of other tests too
        tower = tower_of(check_clip(name, None, "tower"))
        assert not any(parameter.device.type != "meta" for parameter in tower.parameters())
        check_fit(Crops(), tower)
        if tower.limit:
            with pytest.raises(InputError, match=f"{tower.kind} tower, {tower.limit}; set readout to crops"):
                readout_for(tower)
        counts[tower.kind, "crops" if tower.limit else type(readout_for(tower)).__name__] += 1
    if version("open_clip_torch").startswith("3.3."):
        assert counts == FAMILIES


@pytest.mark.skipif(find_spec("transformers") is not None, reason="transformers is installed")
@pytest.mark.parametrize("name", ["roberta-ViT-B-32", "mt5-base-ViT-B-32", "ViT-B-16-SigLIP2", "ViT-L-14-CLIPA"])
def test_configurations_that_need_transformers_are_refused_before_they_are_built(name, monkeypatch):
    monkeypatch.setattr("depthclip.encoder.loading.load_weights", lambda *arguments: pytest.fail("built"))
    with pytest.raises(InputError, match=re.escape("pip install 'depthclip[hf]'")):
        FrozenCLIP(name, None)


@pytest.mark.parametrize(
    ("name", "tag", "readout", "message"),
    [
        ("ViT-B-16", "laion2b_s34b_b88k", "attention_pool", "AttentionPool does not fit a ViT tower"),
        ("PE-Core-B-16", "meta", "tokens", "Tokens does not fit a MAP tower"),
        ("EVA02-L-14", "merged2b_s4b_b131k", "attention_pool", "AttentionPool does not fit a timm Eva tower"),
        ("coca_ViT-B-32", "laion2b_s13b_b90k", "tokens", "Tokens does not fit a CoCa tower"),
        ("swin_base_patch4_window7_224", None, "auto", "SwinTransformer tower, whose attention windows"),
    ],
)
def test_a_readout_that_does_not_fit_is_refused_before_weights_are_loaded(name, tag, readout, message, monkeypatch):
    monkeypatch.setattr("depthclip.encoder.frozen.load_clip", lambda *arguments: pytest.fail("loaded"))
    with pytest.raises(InputError, match=message):
        FrozenCLIP(name, tag, readout)


@pytest.mark.parametrize(("name", "kind"), [("small-resnet", AttentionPool), ("small-vit", Tokens)])
def test_the_default_readout_is_the_one_that_fits(name, kind, clip):
    assert type(clip(name, "auto").readout) is kind


def test_layers_out_of_range_are_refused_before_the_first_image(clip):
    class Deep(Head):
        needs = Needs(layers=(2,))

    with pytest.raises(InputError, match="blocks 0 to 1, not 2"):
        DepthCLIP(clip("small-vit", "tokens"), Deep())
