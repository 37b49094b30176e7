"""The readout `proxy` against ProxyCLIP's formula in NumPy, with small timm models."""

import numpy as np
import pytest
import scipy.special
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from depthclip.cache import FeatureCache
from depthclip.encoder import Needs, Proxy
from depthclip.encoder.towers import tower_of
from depthclip.protocol import View
from tests.conftest import randomize_norms

# small models of timm with DINOv2's patches of 14 pixels and with DINOv3's rotary positions
MODELS = {"vit_small_patch14_dinov2": 14, "vit_small_patch16_dinov3": 16}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of weights of the models that are random and not degenerate, by name."""
    torch.manual_seed(0)
    files = {}
    for name in MODELS:
        model = timm.create_model(name, num_classes=0)
        randomize_norms(model)
        files[name] = str(tmp_path_factory.mktemp("proxy") / "model.safetensors")
        save_file(model.state_dict(), files[name])
    return files


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def attention_of(name, weights, image, threshold=1.2, sharpness=3.0):
    """ProxyCLIP's attention (N, N) of an RGB image, and the grid of the patches (h, w)."""
    model = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
    model.load_state_dict(timm.models.load_state_dict(weights[name]))
    size = [round(side / MODELS[name]) * MODELS[name] for side in image.shape[2:]]
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    tokens = model.forward_features(TF.resize((image - mean) / std, size, antialias=True))
    x = unit(tokens[0, model.num_prefix_tokens :].detach().double().numpy())
    similarity = x @ x.T
    logits = sharpness * (similarity - threshold * similarity.mean())
    logits[logits < 0] = -np.inf
    return scipy.special.softmax(logits, axis=1), tuple(side // MODELS[name] for side in size)


def resized(tokens, grid, size):
    """Patch tokens (h*w, C) resized to another grid, bilinear."""
    values = torch.from_numpy(tokens).T.reshape(1, -1, *grid)
    return F.interpolate(values, size, mode="bilinear")[0].flatten(1).T.numpy()


def linear(x, layer):
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def normalized(x, layer):
    """A LayerNorm of tokens (N, C)."""
    return layer.double()(torch.from_numpy(x)).detach().numpy()


@pytest.mark.parametrize("size", [(64, 64), (96, 48)])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("whole", [False, True])
def test_proxy_of_a_vit_is_written_out(clip, weights, name, size, whole):
    encoder = clip("small-vit", Proxy(name, weights[name], residual=whole, feed_forward=whole))
    image, grid = torch.rand(1, 3, *size), (size[0] // 16, size[1] // 16)
    attention, fine = attention_of(name, weights, image)
    dense = encoder.encode_image(image).dense
    assert dense.shape == (1, 48, *fine)
    visual = encoder.model.visual
    tokens = encoder.tower.trunk((image - encoder.mean) / encoder.std).values[0].double().numpy()
    block = visual.transformer.resblocks[-1]
    weight, bias = (getattr(block.attn, f"in_proj_{part}").double().numpy()[-32:] for part in ("weight", "bias"))
    values = normalized(tokens, block.ln_1)[1:] @ weight.T + bias
    y = linear(attention @ resized(values, grid, fine), block.attn.out_proj)
    if whole:
        y = y + resized(tokens[1:], grid, fine)
        y = y + block.mlp.double()(torch.from_numpy(normalized(y, block.ln_2))).numpy()
    expected = unit(normalized(y, visual.ln_post) @ visual.proj.double().numpy())
    np.testing.assert_allclose(dense[0].flatten(1).T, expected, atol=1e-5)


def test_proxy_of_siglip_pools_each_patch_after_the_attention(siglip, weights):
    name = "vit_small_patch16_dinov3"
    readout = Proxy(name, weights[name])
    image = torch.rand(1, 3, 64, 64)
    attention, _ = attention_of(name, weights, image)
    features = readout(tower_of(siglip), image, Needs(pooled=True))
    torch.testing.assert_close(features.pooled, F.normalize(siglip(image), dim=-1), atol=1e-5, rtol=0)
    trunk = siglip.trunk
    inputs = trunk.forward_intermediates(image, indices=[1], output_fmt="NLC", intermediates_only=True)[0]
    block = trunk.blocks[-1]
    values = block.attn.qkv(block.norm1(inputs))[..., -48:]
    y = trunk.norm(block.attn.proj(torch.from_numpy(attention).float() @ values))[0]
    expected = F.normalize(siglip.head(trunk.forward_head(y[:, None])), dim=-1)
    torch.testing.assert_close(features.dense[0].flatten(1).T, expected, atol=1e-5, rtol=0)


def test_proxy_changes_neither_pooled_features_nor_parameters(clip, weights):
    name = "vit_small_patch16_dinov3"
    needs, image = Needs(pooled=True, layers=(0,)), torch.rand(2, 3, 64, 96)
    encoder = clip("small-vit", Proxy(name, weights[name]))
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    features = encoder.encode_image(image, needs)
    expected = clip("small-vit", "tokens").encode_image(image, needs)
    torch.testing.assert_close(features[1:], expected[1:], rtol=0, atol=0)
    torch.testing.assert_close(encoder.encode_image(image[:1]).dense, features.dense[:1], atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.state_dict(), before, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder.train().readout.network.training


def test_proxies_with_other_switches_or_weights_have_other_cache_keys(clip, weights):
    name = "vit_small_patch16_dinov3"
    keys = []
    with pytest.warns(UserWarning, match="RANDOM weights"):
        random = Proxy(name, False)
    for readout in (Proxy(name, weights[name]), Proxy(name, weights[name], threshold=1.0), random):
        cache = FeatureCache("memory")
        cache.open(clip("small-vit", readout), [], View(), Needs())
        keys.append(cache.key)
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("vit_base_patch16_dinov", False, r"timm has no model 'vit_base_patch16_dinov' .* nearest names are vit_base"),
        ("vit_small_patch16_dinov3.none", True, r"no weights 'vit_small_patch16_dinov3.none'.*; use vit_small"),
        ("resnet18", False, r"resnet18 is not a vision transformer .*; use a ViT"),
        ("vit_small_patch16_dinov3", "none.safetensors", r"'none.safetensors' .* is not a .safetensors file; use true"),
        ("vit_small_patch16_dinov3", "model.pth", r"'model.pth' .* is not a .safetensors file; use true"),
    ],
)
@pytest.mark.filterwarnings("ignore:pretrained of the proxy")
def test_models_that_cannot_be_used_are_refused(model, pretrained, message):
    with pytest.raises(ValueError, match=message):
        Proxy(model, pretrained)


def test_weights_of_another_model_are_refused(weights):
    with pytest.raises(ValueError, match=r"weights of the proxy vit_small_patch16_dinov3 .*; fetch its"):
        Proxy("vit_small_patch16_dinov3", weights["vit_small_patch14_dinov2"])


def test_proxy_by_name_asks_for_a_model(clip):
    with pytest.raises(ValueError, match=r"readout 'proxy' needs a timm model; use .*depthclip.encoder.Proxy"):
        clip("small-vit", "proxy")
