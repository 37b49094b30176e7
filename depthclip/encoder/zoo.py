"""Facts about the models of open_clip, from models that are built without weights."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import open_clip
import torch
from torch import nn

from depthclip.encoder.loading import BUNDLED_TAGS, config_of
from depthclip.encoder.readouts import fitting_names
from depthclip.encoder.towers import PooledTower, Tower, tower_of
from depthclip.encoder.weights import image_tower

BUNDLED = "tiny-rooms"


class ModelFacts(NamedTuple):
    """Facts about a model.

    Args:
        name: name of the model.
        family: family of the image tower.
        readouts: names of the readouts that fit the image tower.
        stride: distance between neighbouring patches in pixels.
        native: (height, width) of the training images in pixels.
        dim: dimension of the joint space, D.
        image_parameters: number of parameters of the image tower.
        text_parameters: number of parameters of the rest; None if they are known to the Hugging Face hub only.
        tags: weight tags.
        limit: why no readout of patches fits the image tower; "" if one does.
    """

    name: str
    family: str
    readouts: tuple[str, ...]
    stride: int
    native: tuple[int, int]
    dim: int
    image_parameters: int
    text_parameters: int | None
    tags: tuple[str, ...]
    limit: str


def model_names() -> list[str]:
    """Return the names of all models: the bundled one, then those of open_clip."""
    return [BUNDLED, *(name for name in open_clip.list_models() if name != BUNDLED)]


def facts(name: str) -> ModelFacts:
    """Return the facts about a model, which is built on the meta device: nothing is downloaded or initialized.

    Raises:
        InputError: if open_clip has no model of that name.
    """
    config = config_of(name)
    with quiet(), torch.device("meta"):
        visual: Any = image_tower(name, config)
        hub = "hf_model_name" in config["text_cfg"]
        model = None if hub else open_clip.create_model(name, pretrained=None, device="meta")
    count = parameters(visual)
    tags = list(BUNDLED_TAGS) if name == BUNDLED else open_clip.list_pretrained_tags_by_model(name)
    rest = None if model is None else parameters(model) - count
    tower = tower_of(visual)
    shape = (tower.stride, tower.native, config["embed_dim"])
    limit = f"a {tower.kind} tower, {tower.limit}" if isinstance(tower, PooledTower) else ""
    return ModelFacts(name, tower.kind, tuple(fitting_names(tower)), *shape, count, rest, tuple(tags), limit)


def random_tower(name: str) -> Tower:
    """Return the image tower of a model with random weights, in evaluation mode.

    Raises:
        InputError: if open_clip has no model of that name.
    """
    with quiet():
        return tower_of(image_tower(name, config_of(name), "cpu").requires_grad_(False).eval())


def parameters(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the log messages about missing weights."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
