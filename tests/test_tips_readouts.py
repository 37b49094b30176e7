"""Attention readouts of TIPSv2 against the formula on exported weights."""

import pytest
import torch
from torch.nn import functional as F

from depthclip.encoder import NACLIP, SCLIP, TIPS, ClearCLIP, MaskCLIP

pytest.importorskip("transformers", minversion="5.18", reason="TIPSv2 needs transformers, in the extra hf")

from tests.hugging_face import tips_folder

SIZES = [(56, 56), (70, 98)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small TIPSv2 with random weights."""
    return tips_folder(tmp_path_factory.mktemp("tips"))


@pytest.mark.parametrize("size", SIZES)
def test_attention_variants_of_tipsv2_are_written_out(folder, size):
    images, grid = torch.rand(1, 3, *size), (size[0] // 14, size[1] // 14)
    for readout, pairs, whole, std in (
        (SCLIP(), ("qq", "kk"), True, None),
        (ClearCLIP(), ("qq",), False, None),
        (NACLIP(), ("kk",), False, 5.0),
    ):
        encoder = TIPS(folder, readout)
        vision = encoder.model.vision_model
        with torch.no_grad():
            x = vision(images, output_hidden_states=True).hidden_states[2]
        block = vision.encoder.layer[-1]
        normed, attention = block.norm1(x[0]), block.attention
        parts = {name: getattr(attention, f"{name}_proj")(normed).view(-1, 2, 16).transpose(0, 1) for name in "qkv"}
        bias = torch.zeros(len(normed), len(normed))
        places = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
        if std is not None:
            for i, a in enumerate(places):
                for j, b in enumerate(places):
                    squared = torch.tensor((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)
                    bias[2 + i, 2 + j] = torch.exp(-squared / (2 * std**2))  # after a class and a register token
        weights = [(parts[a] @ parts[b].mT / 4 + bias).softmax(-1) for a, b in pairs]
        y = attention.o_proj((sum(weights) @ parts["v"]).transpose(0, 1).flatten(1)) * block.layer_scale1.lambda1
        if whole:
            y = x[0] + y
            y = y + block.mlp(block.norm2(y)) * block.layer_scale2.lambda1
        expected = F.normalize(vision.layernorm(y), dim=-1)[2:]
        dense = encoder.encode_image(images).dense
        assert dense.shape == (1, 32, *grid)
        torch.testing.assert_close(dense[0].flatten(1).T, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_identities_of_the_readouts_of_tipsv2(folder, size):
    images = torch.rand(2, 3, *size)
    for readout, expected in (
        (SCLIP(["qk"]), "tokens"),
        (ClearCLIP(["identity"]), "maskclip"),
        (SCLIP(["identity"]), MaskCLIP(reduced=False)),
    ):
        dense, other = (TIPS(folder, reads).encode_image(images).dense for reads in (readout, expected))
        torch.testing.assert_close(dense, other, atol=1e-5, rtol=0)
