"""Small CLIPs written to disk and the weights of the golden values, made once for all tests."""

import json
import tempfile
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from depthclip.encoder import FrozenCLIP
from tests.golden import inputs

GOLDEN = Path(__file__).parent / "golden"
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
SMALL = {
    "small-resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64},
    "small-vit": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
}


def register() -> None:
    """Makes the small models known to open_clip, in whichever process."""
    with tempfile.TemporaryDirectory() as folder:
        for name, vision in SMALL.items():
            config = {"embed_dim": 48, "vision_cfg": vision, "text_cfg": TEXT}
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(config))
            open_clip.add_model_config(path)


@pytest.fixture(scope="session")
def small():
    """Names of small open_clip models, registered: a ResNet and a ViT, embedding dimension 48."""
    register()
    return tuple(SMALL)


def frozen(name: str, readout: str, seed: int = 0) -> FrozenCLIP:
    """A CLIP with weights that are random but not degenerate: open_clip starts some norms at zero."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = FrozenCLIP(name, None, readout)
    generator = torch.Generator().manual_seed(seed)
    for key, value in encoder.model.named_parameters():
        if value.ndim == 1 and key.endswith("weight"):
            value.data.copy_(1 + 0.1 * torch.randn(value.shape, generator=generator))
    return encoder


@pytest.fixture
def clip(small):
    """Makes a small frozen CLIP: clip("small-vit", "tokens")."""
    return frozen


@pytest.fixture(scope="session")
def golden_weights(tmp_path_factory) -> Path:
    """The weights behind the golden values, in a file as open_clip saves them."""
    state = open_clip.create_model("RN50-quickgelu", pretrained=None).state_dict()
    state.update(inputs.weights(state, seed=0))
    path = tmp_path_factory.mktemp("golden") / "rn50.safetensors"
    save_file(state, path)
    return path
