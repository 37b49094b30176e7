"""Find out what the cache of the Hugging Face hub holds, and whether the hub can be reached."""

from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from depthclip.encoder.weights import reason_of


def is_cached(repo: str, file: str) -> bool:
    """Return whether a file of a Hugging Face repository, or its open_clip weights, are in the local cache."""
    names = {file or HF_WEIGHTS_NAME, HF_SAFE_WEIGHTS_NAME, f"{Path(file).stem}.safetensors"}
    return any(isinstance(try_to_load_from_cache(repo, name), str) for name in names)


def unreachable(repo: str, file: str) -> str:
    """Return the reason why the Hugging Face hub cannot be reached, or "" if it can.

    This avoids the wait for a download, which is tried six times for each file.
    """
    try:
        get_hf_file_metadata(hf_hub_url(repo, file), timeout=10)
    except HfHubHTTPError:  # the hub answers; a missing file is reported by the download
        return ""
    except Exception as error:  # the exceptions of the HTTP library differ between versions
        return reason_of(error)
    return ""
