"""The index of a folder of depth maps, `index.json`: the settings of the model, and the scale of each map."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from depthclip.atomic import open_atomic
from depthclip.errors import InputError

INDEX = "index.json"
MAPS = ("png", "npy")


def read_index(folder: Path, settings: dict[str, Any], overwrite: bool) -> dict[str, Any]:
    """Return the maps in the index of a folder: an entry for each file; {} without an index or with other settings.

    Args:
        folder: folder of the depth maps.
        settings: settings that the depths depend on.
        overwrite: whether depth maps of other settings may be in the folder.

    Raises:
        InputError: if the file is not an index, or has other settings and `overwrite` is False.
    """
    path = folder / INDEX
    if not path.exists():
        return {}
    try:
        index = json.loads(path.read_bytes())
        found, maps = index["settings"], index.get("maps")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not an index of depth maps; choose another folder with --output, or remove the file"
        ) from error
    if found != settings:
        if overwrite:
            return {}
        raise InputError(
            f"output {folder} holds depth maps of another model or view; choose another folder with --output, "
            "or use --overwrite"
        )
    return maps if isinstance(maps, dict) else {}


def write_index(
    folder: Path, settings: dict[str, Any], maps: dict[str, Any], images: dict[str, str], scales: dict[str, float]
) -> dict[str, Any]:
    """Write the index and return its maps; files that are no depth maps are not in it.

    Args:
        folder: folder of the depth maps.
        settings: settings that the depths depend on.
        maps: entries of an earlier index, of which those remain whose files exist.
        images: name of the image of each file without its suffix.
        scales: values per metre of each file that is in the folder.

    Raises:
        InputError: if the file cannot be written.
    """
    kept = {file: entry for file, entry in maps.items() if PurePosixPath(file).name == file}
    kept = {file: entry for file, entry in kept.items() if (folder / file).is_file()}
    for file, scale in scales.items():
        stem, _, suffix = file.rpartition(".")
        if suffix in MAPS:
            kept[file] = {"image": images.get(stem, ""), "depth_scale": scale}
    kept = dict(sorted(kept.items()))
    path = folder / INDEX
    try:
        with open_atomic(path) as opened:
            opened.write(json.dumps({"settings": settings, "maps": kept}, indent=1).encode() + b"\n")
    except OSError as error:
        raise unwritable(path, error) from error
    return kept


def unwritable(path: Path, error: OSError) -> InputError:
    """Return the error for a file that cannot be written."""
    return InputError(
        f"{path} cannot be written ({error.strerror or error}); free space and repeat the command, which continues in "
        "the same folder, or choose another folder with --output"
    )
