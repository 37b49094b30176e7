"""Small CLIPs with random weights, and the weights of the golden values."""

import json
import os
import tempfile
import warnings
from pathlib import Path

# Lightning is imported first, as on the command line: typing would otherwise cache Union[float, int] of torchmetrics,
# with which the options of the Trainer that are int or float parse 2 as 2.0
import pytorch_lightning  # noqa: F401  # isort: skip
import open_clip
import pytest
import timm
import torch
from open_clip.timm_model import TimmModel
from safetensors.torch import save_file

from depthclip.encoder import FrozenCLIP
from tests.golden import inputs

GOLDEN = Path(__file__).parent / "golden"
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
SMALL = {
    "small-resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64},
    "small-vit": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
}

if "PYTEST_XDIST_WORKER" in os.environ:  # the processes of `pytest -n` share the cores
    torch.set_num_threads(1)


def register() -> None:
    """Register the small models in open_clip."""
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


def randomize_norms(model: torch.nn.Module, seed: int = 0) -> None:
    """Set the weights of all norms to random values near 1: open_clip initializes some with zero."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in model.named_parameters():
        if value.ndim == 1 and key.endswith("weight"):
            value.data.copy_(1 + 0.1 * torch.randn(value.shape, generator=generator))


def frozen(name: str, readout: str, seed: int = 0) -> FrozenCLIP:
    """Return a CLIP with weights that are random and not degenerate."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = FrozenCLIP(name, None, readout)
    randomize_norms(encoder.model, seed)
    return encoder


@pytest.fixture
def clip(small):
    """A function that makes a small frozen CLIP: clip("small-vit", "tokens")."""
    return frozen


def timm_visual(name: str, **options) -> TimmModel:
    """Return a TimmModel of open_clip around a timm model, with weights that are random and not degenerate."""
    torch.manual_seed(0)
    projection = {"embed_dim": 0, "proj": "none"} if options else {"embed_dim": 16, "proj": "linear"}
    visual = TimmModel(name, image_size=64, pool="", **projection)
    if options:
        visual.trunk = timm.create_model(name, num_classes=0, **options)
    randomize_norms(visual)
    return visual.requires_grad_(False).eval()


@pytest.fixture
def siglip() -> TimmModel:
    """The image tower of SigLIP, small: a timm ViT without class token and with an attention-pool head."""
    options = {"img_size": 64, "embed_dim": 48, "depth": 3, "num_heads": 3}
    return timm_visual("vit_tiny_patch16_224", global_pool="map", class_token=False, fc_norm=False, **options)


@pytest.fixture
def convnext() -> TimmModel:
    """The image tower of a ConvNeXt CLIP, small."""
    return timm_visual("convnext_atto")


@pytest.fixture(scope="session")
def golden_weights(tmp_path_factory) -> Path:
    """A file with the weights of the golden values, as saved by open_clip."""
    state = open_clip.create_model("RN50-quickgelu", pretrained=None).state_dict()
    state.update(inputs.weights(state, seed=0))
    path = tmp_path_factory.mktemp("golden") / "rn50.safetensors"
    save_file(state, path)
    return path
