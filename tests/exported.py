"""The last layers of small models written out in NumPy on exported weights."""

import numpy as np
import scipy.special
import torch

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


def map_head(trunk, tokens):
    """timm's attention-pool head over tokens, (N, C) to (C,), unit length."""
    weights = exported(trunk.attn_pool)
    q = linear(weights["latent"][0], weights, "q")
    k, v = np.split(linear(tokens, weights, "kv"), 2, axis=1)
    x = linear(attend(q, k, v, trunk.attn_pool.num_heads), weights, "proj")
    hidden = gelu(linear(norm(x, weights, "norm", 1e-6), weights, "mlp.fc1"))
    return unit(x + linear(hidden, weights, "mlp.fc2"))[0]
