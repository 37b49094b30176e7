"""Attention readouts on every family of transformers."""

import pytest
import torch

from depthclip.encoder import NACLIP, SCLIP, ClearCLIP, MaskCLIP, Needs, Tokens
from depthclip.encoder.towers import TransformerTower, tower_of
from tests.families import DENSE, small_model

# ConvNeXt, FastViT and ResNets have no blocks of this kind
NAMES = [name for name in DENSE if not name.startswith(("convnext", "RN", "MobileCLIP2-S"))]


@pytest.mark.parametrize("grid", [(4, 4), (2, 3)])
@pytest.mark.parametrize("name", NAMES)
def test_the_own_attention_residual_and_feed_forward_give_the_unmodified_tower(name, grid, monkeypatch):
    tower = tower_of(small_model(name, monkeypatch).visual)
    assert isinstance(tower, TransformerTower)
    images = torch.rand(1, 3, grid[0] * tower.stride, grid[1] * tower.stride)
    unmodified = Tokens() if Tokens().fits(tower) else MaskCLIP()
    expected = unmodified(tower, images, Needs()).dense
    own = SCLIP(similarities=["qk"])
    assert own.fits(tower)
    torch.testing.assert_close(own(tower, images, Needs()).dense, expected, atol=1e-5, rtol=0)
    for readout in (SCLIP(), ClearCLIP(), NACLIP(), ClearCLIP(["identity"])):
        dense = readout(tower, images, Needs()).dense
        assert dense.shape == expected.shape
        assert dense.isfinite().all()
        assert (dense - expected).abs().max() > 1e-4
