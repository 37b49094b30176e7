"""Find the model, weights, normalization and tokenizer for the name of a model and a weight tag."""

import difflib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
from open_clip.constants import HF_WEIGHTS_NAME, IMAGENET_MEAN, IMAGENET_STD
from torch import nn

from depthclip.checks import brief, check_number
from depthclip.encoder.hub import is_cached, unreachable
from depthclip.encoder.text import Tokenizer
from depthclip.encoder.tokenizers import check_transformers, tokenizer_of
from depthclip.encoder.weights import (
    OPTION,
    check_finite,
    check_weights_file,
    create,
    image_tower,
    is_jit,
    load_file,
    quick_gelu_twin,
    reason_of,
)
from depthclip.errors import InputError

MeanStd = tuple[tuple[float, float, float], tuple[float, float, float]]

IMAGENET: MeanStd = (IMAGENET_MEAN, IMAGENET_STD)
OPENAI: MeanStd = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
BUNDLED = Path(__file__).parent / "bundled"
BUNDLED_TAGS = {"bundled": "tiny-rooms.safetensors", "lenses": "tiny-rooms-lenses.safetensors"}
LONGEST_NAME = 200


class Loaded(NamedTuple):
    """An open_clip model with its tokenizer and normalization.

    Args:
        model: the model.
        tokenizer: the tokenizer of the model.
        normalization: ((mean R, G, B), (std R, G, B)) of the model's images, in [0, 1].
    """

    model: nn.Module
    tokenizer: Tokenizer
    normalization: MeanStd


def check_clip(name: str, pretrained: str | None, normalization: str | MeanStd) -> nn.Module:
    """Check the arguments of a model, and return its image tower on the meta device; nothing is downloaded.

    Args:
        name: the name of an open_clip model, or `tiny-rooms`.
        pretrained: a weight tag, `bundled`, `lenses`, the path of a file, or None for random weights.
        normalization: `tower`, `openai`, `imagenet`, or ((mean R, G, B), (std R, G, B)) in [0, 1].

    Raises:
        InputError: if the name, weights or normalization cannot be used, or they do not fit each other.
    """
    config = config_of(name)
    check_pretrained(name, pretrained, bool(config.get("quick_gelu", False)))
    normalization_of(name, pretrained, normalization)
    return image_tower(name, config)


def load_clip(name: str, pretrained: str | None, normalization: str | MeanStd, tokenizer: str | None = None) -> Loaded:
    """Load a model whose arguments have passed `check_clip`.

    Args:
        name: the name of an open_clip model, or `tiny-rooms`.
        pretrained: a weight tag, `bundled`, `lenses`, the path of a file, or None for random weights.
        normalization: `tower`, `openai`, `imagenet`, or ((mean R, G, B), (std R, G, B)) in [0, 1].
        tokenizer: a folder with the files of the tokenizer, or None for the tokenizer of the model.

    Raises:
        InputError: if the tokenizer or the weights cannot be loaded.
    """
    mean_and_std = normalization_of(name, pretrained, normalization)
    config = config_of(name)
    check_transformers(name, config)
    tokenize = tokenizer_of(name, config, tokenizer)
    return Loaded(load_weights(name, pretrained), tokenize, mean_and_std)


def config_of(name: str) -> dict[str, Any]:
    """Return the open_clip configuration of a model.

    Raises:
        InputError: if open_clip has no model of that name.
    """
    if name == "tiny-rooms":
        open_clip.add_model_config(BUNDLED / "tiny-rooms.json")
    models = open_clip.list_models()
    if isinstance(name, str) and name in models:
        return open_clip.get_model_config(name)
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise InputError(f"model name {brief(name)} must be the name of an open_clip model, such as RN50-quickgelu")
    if ":" in name or "/" in name or os.sep in name:
        raise InputError(
            f"model name {name!r} must be the name of an open_clip model, not a path, hub or folder; use the name of "
            "the architecture, and pass the weights file as pretrained"
        )
    near = difflib.get_close_matches(name, models, n=3, cutoff=0.3) or ["RN50-quickgelu", "ViT-B-16-quickgelu"]
    raise InputError(f"open_clip has no model {name!r}; the nearest names are {', '.join(near)}")


def check_pretrained(name: str, pretrained: str | None, quick_gelu: bool) -> None:
    """Check that `pretrained` exists and fits the model, as far as possible before the weights are read.

    Args:
        name: the name of the model.
        pretrained: a weight tag, `bundled`, `lenses`, the path of a file, or None.
        quick_gelu: whether the model has QuickGELU activations.

    Raises:
        InputError: if it does not, with the weights or models that fit.
    """
    if pretrained is None or is_bundled(name, pretrained):
        return
    if not isinstance(pretrained, str):
        raise InputError(f"{OPTION} {brief(pretrained)} must be a weight tag or the path of a file, as text")
    if open_clip.is_pretrained_cfg(name, pretrained):
        needed = bool(open_clip.get_pretrained_cfg(name, pretrained).get("quick_gelu", False))
        if needed != quick_gelu:
            raise InputError(
                f"{name} has {gelu(quick_gelu)} but the weights {pretrained!r} were trained with {gelu(needed)}; use "
                f"{quick_gelu_twin(name) or 'a model with that activation'}"
            )
        return
    if os.path.lexists(pretrained):
        check_weights_file(Path(pretrained))
        if is_jit(Path(pretrained)) and not quick_gelu:
            fitting = quick_gelu_twin(name) or "a model with quick_gelu: true"
            raise InputError(f"{OPTION}: {pretrained} is an OpenAI archive, which needs QuickGELU; use {fitting}")
        return
    twin = quick_gelu_twin(name) or ""
    if twin and open_clip.is_pretrained_cfg(twin, pretrained):
        raise InputError(f"the weights {pretrained!r} were trained with another activation than {name}'s; use {twin}")
    tags = list(BUNDLED_TAGS) if name == "tiny-rooms" else open_clip.list_pretrained_tags_by_model(name)
    raise InputError(
        f"{OPTION} {brief(pretrained)} is neither a weight tag of {name} (tags: {', '.join(tags) or 'none'}) nor a "
        "file; use one of these tags, or the path of a weights file"
    )


def load_weights(name: str, pretrained: str | None) -> nn.Module:
    """Return a model with weights that have passed `check_pretrained`."""
    if pretrained is None:
        warnings.warn(
            f"pretrained is null: {name} has RANDOM weights, and its depth means nothing; set pretrained to a "
            "weight tag or a file",
            stacklevel=4,
        )
        return create(name)
    if is_bundled(name, pretrained):
        return load_file(name, BUNDLED / BUNDLED_TAGS[pretrained])
    if open_clip.is_pretrained_cfg(name, pretrained):
        return load_tag(name, pretrained)
    return load_file(name, Path(pretrained))


def load_tag(name: str, tag: str) -> nn.Module:
    """Return a model with the weights of a tag, which are downloaded unless they are cached.

    Raises:
        InputError: if they cannot be downloaded.
    """
    source = open_clip.get_pretrained_cfg(name, tag)
    repo, file = os.path.split(source.get("hf_hub", ""))
    reason = "" if not repo or is_cached(repo, file) else unreachable(repo, file or HF_WEIGHTS_NAME)
    try:
        if reason:
            raise ConnectionError(reason)
        model = create(name, tag)
    except Exception as error:  # the libraries that download raise many types
        reason = reason_of(error.__cause__ or error.__context__ or error)
        normalization = normalization_name(normalization_of(name, tag, "tower"))
        raise InputError(
            f"the weights {tag!r} of {name} could not be loaded from {source.get('hf_hub') or source.get('url')} "
            f"({reason}); fetch the file on a machine with network and pass its path as {OPTION}, with normalization "
            f"{normalization}"
        ) from error
    check_finite(model, f"{name} {tag}")
    return model


def is_bundled(name: str, pretrained: str | None) -> bool:
    """Return whether the weights ship with this package."""
    return name == "tiny-rooms" and isinstance(pretrained, str) and pretrained in BUNDLED_TAGS


def gelu(quick: bool) -> str:
    """Return the name of an activation."""
    return "QuickGELU" if quick else "GELU"


def normalization_of(name: str, pretrained: str | None, normalization: str | MeanStd) -> MeanStd:
    """Return the mean and standard deviation that normalize the RGB values of a model's images.

    Raises:
        InputError: if the normalization is unknown, or `tower` is used with a local file.
    """
    if normalization == "imagenet":
        return IMAGENET
    if normalization == "openai":
        return OPENAI
    if not isinstance(normalization, str):
        return mean_std(normalization)
    if normalization != "tower":
        raise InputError(
            f"normalization {brief(normalization)} is unknown; choose tower, openai, imagenet or (mean, std)"
        )
    if pretrained is None or name == "tiny-rooms":
        return OPENAI
    if open_clip.is_pretrained_cfg(name, pretrained):
        source = open_clip.get_pretrained_cfg(name, pretrained)
        return source.get("mean") or OPENAI[0], source.get("std") or OPENAI[1]
    raise InputError(
        f"the weights file {pretrained} does not record how images are normalized; set normalization to openai, "
        "imagenet, or the mean and standard deviation of the training"
    )


def mean_std(normalization: Sequence[Sequence[float]]) -> MeanStd:
    """Return a normalization given as numbers.

    Raises:
        InputError: if it does not consist of three means and three standard deviations of values in [0, 1].
    """
    message = f"normalization {brief(normalization)} must be three means and three positive standard deviations"
    try:
        mean, std = (tuple(values) for values in normalization)
    except (TypeError, ValueError) as error:
        raise InputError(message) from error
    if len(mean) != 3 or len(std) != 3:
        raise InputError(message)
    hint = "divide values for pixels up to 255 by 255"
    for value in mean:
        check_number("mean in normalization", value, at_least=0, at_most=1, hint=hint)
    for value in std:
        check_number("standard deviation in normalization", value, at_least=1e-3, at_most=1, hint=hint)
    return mean, std


def normalization_name(normalization: MeanStd) -> str:
    """Return a normalization in the form of the argument `normalization`."""
    for name, values in (("openai", OPENAI), ("imagenet", IMAGENET)):
        if normalization == values:
            return name
    return str([list(values) for values in normalization])
