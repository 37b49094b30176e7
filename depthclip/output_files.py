"""Files in the output folder of `predict` from earlier runs, and the texts in its PNG files that describe them."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from depthclip.errors import InputError
from depthclip.file_names import COLOUR, PANEL, UNCERTAINTY

PICTURE = f"{COLOUR}.png"
SUFFIXES = (
    ".png",
    ".npy",
    ".ply",
    ".glb",
    *(f"{PANEL}.{each}" for each in ("png", "pdf", "svg")),
    f"{UNCERTAINTY}.npz",
)
TEXTS = ("source", "settings", "photograph", "sha256", "files", "left_out")  # which earlier versions did not all write


def digest(settings: dict[str, Any]) -> str:
    """Return a short digest of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def version_of(source: str) -> str:
    """Return the size and the time of the last change of a file; "" without a file."""
    try:
        status = os.stat(source)
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns"


def content_digest(source: str) -> str:
    """Return the SHA-256 digest of the content of a file; "" without a file."""
    digest = hashlib.sha256()
    try:
        with open(source, "rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    except (OSError, ValueError):
        return ""
    return digest.hexdigest()


def is_same_photograph(texts: dict[str, str], source: str, version: str) -> bool:
    """Return whether a photograph still has the content of which a picture was made, or it is not known.

    A file of another time, such as a copy, is the same photograph if its content is the same.

    Args:
        texts: texts of the picture.
        source: path of the photograph.
        version: its size and the time of its last change; "" without a file.
    """
    stated = texts.get("photograph", "")
    return not stated or not version or stated == version or texts.get("sha256") == content_digest(source)


def texts_of(path: Path) -> dict[str, str]:
    """Return the text fields of a PNG that `predict` wrote; an empty dictionary if there is no file.

    Raises:
        InputError: if the path leads to anything else.
    """
    if not path.exists():
        return {}
    try:
        if path.is_file():  # opening a pipe would block
            with Image.open(path, formats=["PNG"]) as image:
                texts = {key: str(image.info[key]) for key in ("image", "depth_scale")}
                texts |= {key: str(image.info[key]) for key in TEXTS if key in image.info}
            float(texts["depth_scale"])
            return texts
    except (OSError, SyntaxError, ValueError, KeyError):
        pass
    raise _foreign(path)


def written_suffixes(picture: dict[str, str]) -> set[str]:
    """Return the suffixes of the files that a colour picture lists as written with it.

    Args:
        picture: texts of the colour picture; {} if there is none. Pictures of earlier versions list no files, and all
            files beside them count as written.
    """
    if not picture:
        return set()
    return set(picture["files"].split()) if "files" in picture else set(SUFFIXES)


def is_written(path: Path, written: bool) -> bool:
    """Return whether there is a file of `predict`.

    Args:
        path: path of an array, point cloud, panel or other file.
        written: whether the colour picture beside it lists it.

    Raises:
        InputError: if the path leads to anything else.
    """
    if not path.exists():
        return False
    if written and path.is_file() and (path.suffix != ".npy" or is_map(path)):
        return True
    raise _foreign(path)


def is_map(path: Path) -> bool:
    """Return whether a file is an .npy file of a depth map."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype == np.float32


def is_output(path: Path) -> bool:
    """Return whether a file is a colour picture, depth map or panel of `predict`.

    Only the headers of a PNG of these names, and of a colour picture beside it, are read.
    """
    if path.suffix != ".png":
        return False
    suffix = next((each for each in (PICTURE, f"{PANEL}.png") if path.name.endswith(each)), ".png")
    beside = path.with_name(f"{path.name.removesuffix(suffix)}{PICTURE}")
    if not beside.is_file():
        return False
    try:
        picture = texts_of(beside)
        return suffix in written_suffixes(picture) | {PICTURE} and (suffix != ".png" or bool(texts_of(path)))
    except InputError:
        return False


def remove_outdated(folder: Path, file: str, requested: set[str]) -> None:
    """Remove the files of an image that an earlier run wrote.

    Args:
        folder: folder of the files.
        file: name of the files without suffix.
        requested: suffixes of the files that will be written. Beside the picture of an earlier version, only these
            and depth maps are removed.
    """
    picture = texts_of(folder / f"{file}{PICTURE}")
    suffixes = written_suffixes(picture)
    if "files" not in picture:
        suffixes &= requested | {".png", ".npy"}
    for path in (folder / f"{file}{suffix}" for suffix in sorted(suffixes)):
        if path.is_file() and (path.suffix != ".npy" or is_map(path)):
            path.unlink()


def _foreign(path: Path) -> InputError:
    return InputError(f"{path} is there already and is no depth map of depthclip; choose another folder with --output")
