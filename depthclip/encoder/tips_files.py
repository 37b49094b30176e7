"""Load TIPSv2 from a folder or the Hugging Face hub."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from safetensors import safe_open

from depthclip.checks import brief
from depthclip.encoder.hub import unreachable
from depthclip.encoder.weights import LARGEST_LOGIT_SCALE, OPTION, reason_of
from depthclip.errors import InputError

OLDEST = (5, 18)  # transformers 5.14 has TIPSv2, 5.18 the projections of its image attention that readouts use
FILES = ["*.json", "*.safetensors", "tokenizer*"]  # of a hub repository; neither code nor pickled files


def transformers_library() -> Any:
    """Return the module transformers.

    Raises:
        InputError: if it is missing or too old for TIPSv2.
    """
    if importlib.util.find_spec("transformers") is None:
        raise InputError("TIPSv2 needs the transformers package, version 5.18 or later; pip install 'depthclip[hf]'")
    import transformers  # slow to import, and optional

    if tuple(map(int, transformers.__version__.split(".")[:2])) < OLDEST:
        raise InputError(
            f"TIPSv2 needs transformers 5.18 or later, not {transformers.__version__}; pip install -U 'depthclip[hf]'"
        )
    return transformers


def load_tips(pretrained: str) -> tuple[Any, Any]:
    """Return the model and the tokenizer of a TIPSv2 in float32.

    Args:
        pretrained: a repository of the Hugging Face hub, or a folder.

    Raises:
        InputError: if they cannot be loaded, or a weight is not finite.
    """
    library = transformers_library()
    folder = folder_of(pretrained)
    way_out = "pass google/tipsv2-b14 or another TIPSv2 of the hub, or a folder with all its files"
    try:
        kind = library.Tipsv2Config.get_config_dict(folder)[0].get("model_type")
        if kind != "tipsv2":
            raise InputError(f"{OPTION}: {pretrained} has no config.json of a TIPSv2 (model_type {kind!r}); {way_out}")
        tokenizer = library.Tipsv2Tokenizer.from_pretrained(folder)
        options: Any = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
        loaded: Any = library.Tipsv2Model.from_pretrained(folder, **options)
    except InputError:
        raise
    except Exception as error:  # transformers raises many types for missing and damaged files
        raise InputError(f"{OPTION}: {pretrained} could not be loaded ({reason_of(error)}); {way_out}") from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise InputError(f"{OPTION}: {pretrained} has no weights {', '.join(missing[:3])}; {way_out}")
    for key, value in model.state_dict().items():
        if not value.isfinite().all():
            raise InputError(f"{OPTION}: the weights of {pretrained} are NaN or infinite in {key}; fetch them again")
    temperature = model.temperature.item()
    if not 1 / LARGEST_LOGIT_SCALE <= temperature <= LARGEST_LOGIT_SCALE:
        raise InputError(
            f"{OPTION}: {pretrained} has the temperature {temperature:g}, far from the 0.005 of TIPSv2; fetch the "
            "weights again"
        )
    if not has_temperature(folder):
        warnings.warn(
            f"the weights of {pretrained} have no temperature, so that similarities are multiplied by "
            f"{1 / temperature:.4g}, from its config.json; set head.logit_scale for another factor",
            stacklevel=3,
        )
    return model, tokenizer


def has_temperature(folder: Path) -> bool:
    """Return whether the weights in a folder have the temperature of the logits."""
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            if "temperature" in file.keys():  # noqa: SIM118  # a file is not a mapping
                return True
    return False


def folder_of(pretrained: str) -> Path:
    """Return the folder with the files of a model; those of a hub repository are downloaded unless they are cached.

    Raises:
        InputError: if there is no such folder, or the repository cannot be reached.
    """
    if isinstance(pretrained, str) and pretrained and Path(pretrained).is_dir():
        return Path(pretrained)
    try:
        validate_repo_id(pretrained)
        named = "/" in pretrained
    except (HFValidationError, TypeError):
        named = False
    if not named:
        raise InputError(
            f"{OPTION} {brief(pretrained)} is neither a folder nor a repository of the hub; use google/tipsv2-b14, or "
            "the path of a folder with its files"
        )
    reason = unreachable(pretrained, "config.json")
    try:
        # without a network, use cached files only, which avoids repeated attempts to download
        return Path(snapshot_download(pretrained, allow_patterns=FILES, local_files_only=bool(reason)))
    except Exception as error:  # the libraries that download raise many types
        raise InputError(
            f"{OPTION}: {pretrained} could not be loaded from the Hugging Face hub ({reason or reason_of(error)}); "
            "fetch its files on a machine with network and pass their folder"
        ) from error
