"""Image towers against the libraries at native and other sizes: pooled features and intermediate maps."""

from copy import deepcopy

import open_clip
import pytest
import torch
from torch.nn import functional as F

from depthclip.encoder import Crops, Needs
from depthclip.encoder.interfaces import ImageFeatures
from depthclip.encoder.towers import tower_of
from depthclip.errors import InputError
from tests.conftest import frozen

SIZES = [(64, 64), (96, 96), (32, 64), (96, 64)]  # the first is native to the small models


def assert_near(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def normalized(encoder, images):
    return (images - encoder.mean) / encoder.std


def forced(encoder, size):
    """open_clip's image tower built for a size, with position embeddings resampled by open_clip."""
    model = open_clip.create_model(encoder.name, force_image_size=size)
    state = encoder.model.state_dict()
    open_clip.model.resize_pos_embed(state, model)
    model.load_state_dict(state)
    return model.eval().visual


def open_clip_layers(visual, images, indices):
    outputs = visual.forward_intermediates(images, indices=indices, intermediates_only=True)
    return outputs["image_intermediates"]


@pytest.mark.parametrize("name", ["small-resnet", "small-vit"])
def test_pooled_features_are_those_of_open_clip(clip, name):
    encoder = clip(name, "maskclip")
    image = torch.rand(2, 3, 64, 64)
    expected = encoder.model.encode_image(normalized(encoder, image), normalize=True)
    assert_near(encoder.encode_image(image, Needs(pooled=True)).pooled, expected)


@pytest.mark.parametrize("name", ["RN50", "RN101", "ViT-B-32", "ViT-B-16"])
def test_pooled_features_are_those_of_open_clip_for_common_models(name):
    encoder = frozen(name, "maskclip")
    image = normalized(encoder, torch.rand(1, 3, 224, 224))
    pooled = encoder.tower.pool(encoder.tower.trunk(image))
    assert_near(F.normalize(pooled, dim=-1), encoder.model.encode_image(image, normalize=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{}, {"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True}])
def test_vit_is_open_clips_at_any_size(clip, size, options):
    encoder = clip("small-vit", "tokens")
    visual = forced(encoder, size)
    for tower in (encoder.tower.visual, visual):
        for key, value in options.items():
            setattr(tower, key, value)
    image = torch.rand(2, 3, *size)
    features = encoder.encode_image(image, Needs(pooled=True, layers=(1, 0)))
    assert_near(features.pooled, F.normalize(visual(normalized(encoder, image)), dim=-1))
    first, last = open_clip_layers(visual, normalized(encoder, image), [0, 1])
    assert_near(features.layers[0], last)
    assert_near(features.layers[1], first)


@pytest.mark.parametrize("size", SIZES)
def test_resnet_maps_are_the_outputs_of_its_stages(clip, size):
    encoder = clip("small-resnet", "attention_pool")
    visual, image = encoder.model.visual, torch.rand(2, 3, *size)
    expected = [visual.stem(normalized(encoder, image))]
    for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        expected.append(stage(expected[-1]))
    layers = encoder.encode_image(image, Needs(layers=(4, 0, -2))).layers
    for actual, index in zip(layers, (4, 0, 3), strict=True):
        assert_near(actual, expected[index])


def test_resnet_maps_are_open_clips(clip):
    encoder = clip("small-resnet", "attention_pool")
    image = torch.rand(2, 3, 64, 64)
    expected = open_clip_layers(encoder.model.visual, normalized(encoder, image), [0, 1, 2, 3, 4])
    for actual, layer in zip(encoder.encode_image(image, Needs(layers=(0, 1, 2, 3, 4))).layers, expected, strict=True):
        assert_near(actual, layer)


@pytest.mark.parametrize("size", SIZES)
def test_siglip_is_timms_at_any_size(siglip, size):
    resized = deepcopy(siglip)
    resized.set_input_size(size)
    tower, image = tower_of(siglip), torch.rand(2, 3, *size)
    trunk = tower.trunk(image, (2, 0))
    final, (first, last) = resized.trunk.forward_intermediates(image, indices=[0, 2])
    assert_near(trunk.values, final)
    assert_near(trunk.layers[0], last)
    assert_near(trunk.layers[1], first)
    assert_near(tower.pool(trunk), resized(image))
    assert_near(tower.trunk(image).values, final)


@pytest.mark.parametrize("size", SIZES)
def test_convnext_is_timms_at_any_size(convnext, size):
    tower, image = tower_of(convnext), torch.rand(2, 3, *size)
    trunk = tower.trunk(image, (-1, 1))
    expected = convnext.trunk.forward_intermediates(image, indices=[1, 3], intermediates_only=True)
    assert_near(trunk.layers[0], expected[1])
    assert_near(trunk.layers[1], expected[0])
    assert_near(tower.pool(trunk), convnext(image))


@pytest.mark.parametrize("name", ["small-resnet", "small-vit", "siglip", "convnext"])
def test_one_size_leaves_no_trace_in_the_next(clip, request, name):
    visual = clip(name, "maskclip").model.visual if name.startswith("small") else request.getfixturevalue(name)
    before = deepcopy(visual.state_dict())
    image = torch.rand(1, 3, 64, 64)
    expected = deepcopy(visual)(image)  # the library's output before the first call of ours
    tower = tower_of(visual)
    for size in ((96, 32), (128, 128), (64, 64)):
        tower.pool(tower.trunk(torch.rand(1, 3, *size), (0,)))
    assert_near(tower.pool(tower.trunk(image)), expected)
    after = visual.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize(("name", "depth"), [("small-resnet", 5), ("small-vit", 2)])
def test_layers_out_of_range_are_refused(clip, name, depth):
    encoder = clip(name, "maskclip")
    for index in (depth, -depth - 1):
        with pytest.raises(InputError, match=f"blocks 0 to {depth - 1}, not {index}"):
            encoder.encode_image(torch.rand(1, 3, 64, 64), Needs(layers=(0, index)))


def test_crops_take_layers_from_the_whole_image(clip):
    encoder = clip("small-resnet", Crops())
    image = torch.rand(1, 3, 64, 96)
    (expected,) = open_clip_layers(encoder.model.visual, normalized(encoder, image), [2])
    (actual,) = encoder.encode_image(image, Needs(layers=(2,))).layers
    assert_near(actual, expected)


def test_needs_of_several_heads_are_merged_and_each_gets_its_part():
    a, b = Needs(layers=(3, -1)), Needs(pooled=True, layers=(0, 3))
    both = a | b
    assert both == Needs(pooled=True, layers=(3, -1, 0))
    maps = tuple(torch.full((1, 1, 1, 1), float(layer)) for layer in both.layers)
    features = ImageFeatures(torch.zeros(1), torch.ones(1), maps)
    assert [layer.item() for layer in features.select(both, b).layers] == [0, 3]
    assert features.select(both, a).pooled is None


def test_a_convolutional_tower_runs_channels_last_and_computes_the_same(clip):
    """Features are contiguous, whatever the format; open_clip's own tower runs with contiguous images and weights."""
    encoder = clip("small-resnet", "attention_pool")
    image = torch.rand(2, 3, 64, 96)
    assert encoder.model.visual.layer1[0].conv2.weight.is_contiguous(memory_format=torch.channels_last)
    layers = encoder.encode_image(image, Needs(layers=(0, 4))).layers
    assert all(each.is_contiguous() for each in layers)
    plain = deepcopy(encoder.model.visual).to(memory_format=torch.contiguous_format)
    expected = plain.forward_intermediates(normalized(encoder, image), indices=[0, 4], intermediates_only=True)
    for actual, layer in zip(layers, expected["image_intermediates"], strict=True):
        assert_near(actual, layer)


@pytest.mark.parametrize("name", ["small-resnet", "small-vit"])
def test_a_frozen_tower_builds_no_graph(clip, name):
    features = clip(name, "maskclip").encode_image(torch.rand(1, 3, 64, 64), Needs(pooled=True, layers=(0,)))
    assert not any(each.requires_grad for each in (features.dense, features.pooled, *features.layers))
