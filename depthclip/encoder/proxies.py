"""Frozen vision models of timm whose features give the attention of the readout `proxy`."""

import difflib
import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import timm
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE

from depthclip.checks import brief
from depthclip.encoder.loading import is_cached, unreachable
from depthclip.encoder.weights import reason_of
from depthclip.errors import InputError


class ProxyModel(NamedTuple):
    """A frozen timm model with the normalization of its images.

    Args:
        model: the model, without a classifier.
        mean: (R, G, B) in [0, 1].
        std: (R, G, B) in [0, 1].
    """

    model: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load_proxy(name: str, pretrained: bool | str) -> ProxyModel:
    """Return a frozen vision transformer of timm that runs at any image size.

    Args:
        name: name of a model of timm.
        pretrained: whether timm's weights are downloaded, or the path of a `.safetensors` file.

    Raises:
        InputError: if the model is unknown or does not run at any image size, or its weights cannot be loaded.
    """
    config = pretrained_config(name)
    if isinstance(pretrained, str):
        check_safetensors(pretrained)
    elif not pretrained:
        warnings.warn(
            f"pretrained of the proxy {name} is false: it has RANDOM weights, and its attention means nothing; set it "
            "to true or a file",
            stacklevel=3,
        )
    source = pretrained if isinstance(pretrained, str) else config.get("hf_hub_id") or config.get("url") or "timm"
    try:
        if pretrained is True and (reason := offline_reason(config)):
            raise ConnectionError(reason)
        model = create_proxy(name, pretrained)
    except InputError:
        raise
    except Exception as error:  # the libraries that download and read weights raise many types
        raise InputError(
            f"the weights of the proxy {name} could not be loaded from {source} ({reason_of(error)}); fetch its "
            "model.safetensors on a machine with network and pass the path as pretrained of the readout"
        ) from error
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise InputError(f"the weights of the proxy {name} from {source} are not finite; fetch them again")
    model.requires_grad_(False).eval()
    return ProxyModel(model, tuple(model.pretrained_cfg["mean"]), tuple(model.pretrained_cfg["std"]))


def pretrained_config(name: str) -> dict[str, Any]:
    """Return timm's configuration of a model and its weights.

    Raises:
        InputError: if timm has no model or weights of that name.
    """
    architecture = name.partition(".")[0] if isinstance(name, str) else ""
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.3)
        nearest = ", ".join(near or ["vit_base_patch16_dinov3", "vit_pe_spatial_base_patch16_512"])
        raise InputError(f"timm has no model {brief(name)} for the readout proxy; the nearest names are {nearest}")
    tags = timm.list_pretrained(f"{architecture}.*")
    if name != architecture and name not in tags:
        raise InputError(f"timm has no weights {name!r} for the readout proxy; use {', '.join(tags) or architecture}")
    config = timm.get_pretrained_cfg(name)
    return {} if config is None else config.to_dict()


def check_safetensors(path: str) -> None:
    """Check that a file of weights is one that is read without unpickling.

    Raises:
        InputError: if it is not.
    """
    if not path.endswith(".safetensors") or not Path(path).is_file():
        raise InputError(
            f"pretrained {brief(path)} of the readout proxy is not a .safetensors file; use true for timm's weights, "
            "or the path of such a file"
        )


def offline_reason(config: dict[str, Any]) -> str:
    """Return the reason why weights cannot be downloaded, or "" if they can or are in the local cache."""
    repo = config.get("hf_hub_id") or ""
    return "" if not repo or is_cached(repo, "") else unreachable(repo, SAFETENSORS_SINGLE_FILE)


def create_proxy(name: str, pretrained: bool | str) -> Any:
    """Return a model of timm without a classifier that accepts any image size.

    Raises:
        InputError: if the model does not accept any size.
    """
    overlay = {"file": pretrained} if isinstance(pretrained, str) else None
    logging.disable(logging.ERROR)
    try:
        return timm.create_model(
            name, pretrained=bool(pretrained), pretrained_cfg_overlay=overlay, num_classes=0, dynamic_img_size=True
        )
    except TypeError as error:  # its constructor has no argument dynamic_img_size
        raise InputError(
            f"the proxy {name} is not a vision transformer that runs at any image size; use a ViT such as "
            "vit_base_patch16_dinov3"
        ) from error
    finally:
        logging.disable(logging.NOTSET)
