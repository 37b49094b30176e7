"""Load weights from local files, which are not trusted."""

import logging
import pickle
import stat
import textwrap
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from depthclip.errors import InputError

OPTION = "pretrained (--model.encoder.pretrained)"
LARGEST_LOGIT_SCALE = 1e6  # OpenAI's is 100


def create(name: str, pretrained: str | None = None) -> nn.Module:
    """Return an open_clip model and suppress the log messages of its construction.

    Raises:
        InputError: if a model without pretrained weights cannot be built with the installed libraries.
    """
    logging.disable(logging.ERROR)
    try:
        return open_clip.create_model(name, pretrained=pretrained, pretrained_text=False)
    except (ImportError, OSError, RuntimeError) as error:
        if pretrained is not None:
            raise
        raise InputError(
            f"model {name!r} cannot be built ({reason_of(error)}); install newer versions of open_clip_torch and timm, "
            "and transformers for text towers of the Hugging Face hub"
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def image_tower(name: str, config: Mapping[str, Any], device: str = "meta") -> nn.Module:
    """Return the image tower of an open_clip configuration with random weights.

    Args:
        name: name of the model, for messages.
        config: the configuration.
        device: the device of its parameters; on `meta` they have no values and take no memory.

    Raises:
        InputError: if it cannot be built with the installed libraries.
    """
    vision = {**config["vision_cfg"], "timm_model_pretrained": False}
    text = {"vocab_size": 1, "width": 1, "heads": 1, "layers": 1}  # the text tower may need another library
    logging.disable(logging.ERROR)
    try:
        with torch.device(device):
            return open_clip.CustomTextCLIP(config["embed_dim"], vision, text, config.get("quick_gelu", False)).visual
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            f"model {name!r} cannot be built ({reason_of(error)}); install newer versions of open_clip_torch and timm"
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def load_file(name: str, path: Path) -> nn.Module:
    """Return a model with the weights of a local file.

    Raises:
        InputError: if the file does not hold finite weights of this model.
    """
    check_weights_file(path)
    model = create(name)
    try:
        if is_jit(path):
            state = torch.jit.load(path, map_location="cpu").state_dict()
            sizes = ("input_resolution", "context_length", "vocab_size")
            model.load_state_dict({key: value for key, value in state.items() if key not in sizes})
        else:
            open_clip.load_checkpoint(model, str(path))
    except Exception as error:  # a malformed file can raise any exception in the readers
        raise InputError(
            f"{OPTION}: {path} does not hold weights of {name} ({reason_of(error)}); pass OpenAI's archive or a file "
            "that open_clip saved for this model"
        ) from error
    check_finite(model, str(path))
    if not is_jit(path) and (twin := quick_gelu_twin(name)):
        warnings.warn(
            f"the weights file {path} does not record whether it was trained with QuickGELU, as OpenAI's weights were; "
            f"if its activation is not that of {name}, use {twin}",
            stacklevel=2,
        )
    return model


def check_weights_file(path: Path) -> None:
    """Check that a path is a regular, non-empty file, and neither a decompression bomb nor an archive that runs code.

    Raises:
        InputError: if it is not.
    """
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            raise InputError(
                f"{OPTION}: {path} is {kind_of(kind)}, not a file; pass the path of the weights file in it"
            )
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{OPTION}: {path} is empty; fetch it again")
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > 4 * path.stat().st_size + 2**20:
                raise InputError(
                    f"{OPTION}: {path} would expand to more than four times its size, unlike any weights; fetch it "
                    "again from a source that you trust"
                )
            # TorchScript runs only __setstate__ while it is loaded, and OpenAI's archives do not define it
            if any("/code/" in name and b"__setstate__" in archive.read(name) for name in archive.namelist()):
                raise InputError(
                    f"{OPTION}: {path} is a TorchScript archive that runs code when it is loaded; use OpenAI's "
                    "archive, or a file of tensors"
                )
    except InputError:
        raise
    except Exception as error:  # a damaged archive can raise any exception
        raise InputError(
            f"{OPTION}: {path} cannot be read ({reason_of(error)}); check the file and its permissions"
        ) from error


def kind_of(mode: int) -> str:
    """Return the kind of a path that is not a file."""
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"


def check_finite(model: nn.Module, source: str) -> None:
    """Check that all weights are finite and the logit scale is plausible.

    Args:
        model: the model.
        source: name of the weights, for the message.

    Raises:
        InputError: if they are not.
    """
    for key, value in model.state_dict().items():
        if not value.isfinite().all():
            raise InputError(f"{OPTION}: the weights of {source} are NaN or infinite in {key}; fetch them again")
    scale = model.get_parameter("logit_scale").exp()
    if not (scale <= LARGEST_LOGIT_SCALE).all():
        raise InputError(
            f"{OPTION}: the weights of {source} have a logit_scale of {float(scale):g}, far above the 100 of a CLIP; "
            "fetch them again"
        )


def is_jit(path: Path) -> bool:
    """Return whether a file is a TorchScript archive, the format of the weights that OpenAI published."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in member for member in archive.namelist())


def quick_gelu_twin(name: str) -> str | None:
    """Return the name of the same model with the other activation, or None if open_clip has none."""
    stem = name.removesuffix("-quickgelu")
    twin = stem if stem != name else f"{stem}-quickgelu"
    return twin if twin in open_clip.list_models() else None


def reason_of(error: BaseException) -> str:
    """Return the reason of a library's error, in one line of at most 200 characters."""
    # the messages of these errors advise the user to disable this protection
    if isinstance(error, pickle.UnpicklingError) or "allow_pickle" in str(error):
        return "it is damaged, or holds Python objects besides tensors"
    if isinstance(error, StopIteration):
        return "it holds no parameters"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return textwrap.shorten(" ".join(lines[:2]), 200, placeholder=" ...") or type(error).__name__
