"""Files in the output folder of `predict` from earlier runs."""

from pathlib import Path

import numpy as np
from PIL import Image

from depthclip.errors import InputError


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
                texts["source"] = str(image.info.get("source", ""))
            float(texts["depth_scale"])
            return texts
    except (OSError, SyntaxError, ValueError, KeyError):
        pass
    raise _foreign(path)


def is_array(path: Path, pictured: bool) -> bool:
    """Return whether there is an .npy file that `predict` wrote, with a picture beside it.

    Raises:
        InputError: if the path leads to anything else.
    """
    if not path.exists():
        return False
    try:
        if pictured and path.is_file():
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype == np.float32:
                return True
    except (OSError, ValueError, EOFError):
        pass
    raise _foreign(path)


def is_companion(path: Path, pictured: bool) -> bool:
    """Return whether there is a point cloud, panel or other file that has a picture of depthclip beside it.

    Raises:
        InputError: if the path leads to anything else.
    """
    if not path.exists():
        return False
    if pictured and path.is_file():
        return True
    raise _foreign(path)


def _foreign(path: Path) -> InputError:
    return InputError(f"{path} is there already and is no depth map of depthclip; choose another folder with --output")
