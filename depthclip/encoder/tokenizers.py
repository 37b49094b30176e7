"""Load the tokenizer of an open_clip model."""

import importlib.util
import os
from typing import Any

import open_clip
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer

from depthclip.checks import brief
from depthclip.encoder.hub import is_cached, unreachable
from depthclip.encoder.text import Tokenizer
from depthclip.encoder.weights import reason_of
from depthclip.errors import InputError


def check_transformers(name: str, config: dict[str, Any]) -> None:
    """Check that the text tower of a model can be built, before anything is downloaded.

    Args:
        name: the name of the model.
        config: its open_clip configuration.

    Raises:
        InputError: if transformers is missing, or the configuration of the text tower is neither in the cache nor on
            the hub.
    """
    text = config.get("text_cfg", {})
    encoder = text.get("hf_model_name")
    if (encoder or text.get("hf_tokenizer_name")) and importlib.util.find_spec("transformers") is None:
        part = "text tower" if encoder else "tokenizer"
        raise InputError(f"the {part} of {name} needs the transformers package; pip install 'depthclip[hf]'")
    if not encoder or os.path.isdir(encoder) or is_cached(encoder, "config.json"):
        return
    if reason := unreachable(encoder, "config.json"):
        raise InputError(
            f"the text tower of {name} needs the file config.json of {encoder} from the Hugging Face hub ({reason}); "
            "run once with a network"
        )


def tokenizer_of(name: str, config: dict[str, Any], folder: str | None = None) -> Tokenizer:
    """Return the tokenizer of a model.

    Args:
        name: the name of the model.
        config: its open_clip configuration.
        folder: a folder with the files of the tokenizer; None to find them in the cache or on the hub.

    Raises:
        InputError: if the tokenizer cannot be downloaded, or the folder holds no tokenizer.
    """
    text = config.get("text_cfg", {})
    repo = text.get("hf_tokenizer_name")
    if folder is not None:
        return tokenizer_in(folder, name, text)
    reason = unreachable(repo, "tokenizer_config.json") if repo and not os.path.isdir(repo) else ""
    # a tokenizer must not run code of its repository; without a network, use cached files only, which avoids repeated
    # attempts to download
    options = {"trust_remote_code": False, "local_files_only": bool(reason)} if repo else {}
    try:
        return open_clip.get_tokenizer(name, **options)
    except Exception as error:  # transformers raises many types for a missing file or package
        raise InputError(
            f"the tokenizer of {name} could not be loaded ({reason or reason_of(error)}); run once with a network, set "
            "tokenizer to a folder with its files, pip install 'depthclip[hf]', or use a model with open_clip's own "
            "tokenizer"
        ) from error


def tokenizer_in(folder: str, name: str, text: dict[str, Any]) -> Tokenizer:
    """Return the tokenizer of a model from a folder with its files.

    Args:
        folder: the path of the folder.
        name: the name of the model.
        text: the configuration of its text tower.

    Raises:
        InputError: if the model has open_clip's own tokenizer, or the folder holds no tokenizer.
    """
    if not text.get("hf_tokenizer_name"):
        raise InputError(f"tokenizer {brief(folder)}: {name} has open_clip's own tokenizer; set tokenizer to null")
    way_out = "use a folder with tokenizer.json and tokenizer_config.json of the model's repository"
    if not os.path.isdir(folder):
        raise InputError(f"tokenizer {brief(folder)} is not a folder; {way_out}")
    try:
        return HFTokenizer(
            folder,
            context_length=text.get("context_length", DEFAULT_CONTEXT_LENGTH),
            tokenizer_mode=text.get("tokenizer_mode"),
            **text.get("tokenizer_kwargs", {}),
            trust_remote_code=False,
            local_files_only=True,
        )
    except Exception as error:  # transformers raises many types for missing and damaged files
        raise InputError(f"tokenizer {folder} could not be loaded ({reason_of(error)}); {way_out}") from error
