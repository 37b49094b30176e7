"""Intermediate maps of the towers against the libraries' own `forward_intermediates`, at their size and at others."""

import open_clip
import pytest
import timm
import torch

from depthclip.encoder import Crops, Needs
from depthclip.encoder.interfaces import ImageFeatures
from depthclip.encoder.towers import tower_of
from depthclip.errors import InputError


@pytest.mark.parametrize(
    ("name", "readout", "depth"), [("small-resnet", "attention_pool", 5), ("small-vit", "tokens", 2)]
)
def test_layers_are_open_clips(clip, name, readout, depth):
    encoder = clip(name, readout)
    image = torch.rand(2, 3, 64, 64)
    expected = encoder.model.visual.forward_intermediates(
        (image - encoder.mean) / encoder.std, indices=list(range(depth)), intermediates_only=True
    )["image_intermediates"]
    found = encoder.encode_image(image, Needs(layers=(-1, 0))).layers
    torch.testing.assert_close(found[0], expected[-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], expected[0], atol=1e-5, rtol=0)
    with pytest.raises(InputError, match=f"blocks 0 to {depth - 1}, not {depth}"):
        encoder.encode_image(image, Needs(layers=(0, depth)))


@pytest.mark.parametrize("size", [(64, 96), (32, 64)])
def test_layers_of_a_vit_at_another_size_are_those_of_open_clip_forced_to_it(clip, small, size):
    encoder = clip("small-vit", "tokens")
    forced = open_clip.create_model("small-vit", force_image_size=size)
    state = encoder.model.state_dict()
    open_clip.model.resize_pos_embed(state, forced)
    forced.load_state_dict(state)
    image = torch.rand(1, 3, *size)
    (expected,) = forced.eval().visual.forward_intermediates(
        (image - encoder.mean) / encoder.std, indices=[0], intermediates_only=True
    )["image_intermediates"]
    (found,) = encoder.encode_image(image, Needs(layers=(0,))).layers
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_layers_of_timm_towers_are_timms():
    vit = open_clip.timm_model.TimmModel("vit_tiny_patch16_224", embed_dim=0, image_size=224, pool="", proj="none")
    vit.trunk = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, global_pool="map", class_token=False, fc_norm=False
    ).eval()
    conv = open_clip.timm_model.TimmModel("convnext_atto", embed_dim=16, image_size=64, pool="", proj="linear").eval()
    for visual, size in ((vit, (224, 224)), (vit, (32, 64)), (conv, (96, 64))):
        image = torch.rand(1, 3, *size)
        tower = tower_of(visual)
        with torch.no_grad():
            final, expected = visual.trunk.forward_intermediates(image, indices=[1, 3])
            trunk = tower.trunk(image, (3, 1))
        torch.testing.assert_close(trunk.layers[0], expected[1])
        torch.testing.assert_close(trunk.layers[1], expected[0])
        torch.testing.assert_close(trunk.values, final)


def test_crops_take_layers_from_the_whole_image(clip):
    image = torch.rand(1, 3, 64, 96)
    (found,) = clip("small-resnet", Crops()).encode_image(image, Needs(layers=(2,))).layers
    (expected,) = clip("small-resnet", "released").encode_image(image, Needs(layers=(2,))).layers
    torch.testing.assert_close(found, expected)


def test_needs_of_several_heads_are_merged_and_each_gets_its_part():
    a, b = Needs(layers=(3, -1)), Needs(pooled=True, layers=(0, 3))
    both = a | b
    assert both == Needs(pooled=True, layers=(3, -1, 0))
    maps = tuple(torch.full((1, 1, 1, 1), float(layer)) for layer in both.layers)
    features = ImageFeatures(torch.zeros(1), torch.ones(1), maps)
    assert [m.item() for m in features.select(both, b).layers] == [0, 3]
    assert features.select(both, a).pooled is None
