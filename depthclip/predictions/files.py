"""Read depth maps that any method wrote."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from depthclip.data.files import check_depth_values
from depthclip.data.paths import quoted, regular_file
from depthclip.data.samples import DataError

AGAIN = "check the file, and write it again"
KEY = "depth"  # of an .npz file with several arrays


class DepthMap(NamedTuple):
    """A depth map from a file.

    Args:
        depth: (H, W) float32 metres, finite and at least 0.
        scale: values per metre in the file.
        stated: whether the file, or its index, states the scale.
    """

    depth: Tensor
    scale: float
    stated: bool


def read_prediction(path: Path, scale: float | None = None, indexed: float | None = None) -> DepthMap:
    """Return the depth map in a file.

    Args:
        path: 16-bit PNG, TIFF with 16-bit or floating-point values, .npy, or .npz with a single array or an array
            `depth`.
        scale: values per metre; None for the scale that the file states, or 1 for floating-point values.
        indexed: values per metre that an index states.

    Raises:
        DataError: if the file cannot be read, holds no depth map, or does not state its scale; if the scale differs
            from the stated scale; or if a value is negative or not finite.
    """
    regular_file(path, "prediction", AGAIN)
    try:
        values, written = read_image(path) if path.suffix.lower() in (".png", ".tif", ".tiff") else read_array(path)
    except DataError:
        raise
    except Exception as error:  # a damaged file may raise any exception
        # loading a pickled array could run code
        reason = "it holds pickled objects or no array" if "pickle" in str(error) else error
        raise DataError(f"prediction {quoted(path)} cannot be read ({reason}); {AGAIN}") from error
    check_depth_values(values, f"prediction {quoted(path)}")
    stated = written if indexed is None else indexed
    if stated is not None and scale is not None and not np.isclose(stated, scale):
        raise DataError(f"prediction {quoted(path)} states {stated:g} values per metre, not scale {scale:g}; set null")
    used = stated if scale is None else scale
    if used is None:
        if values.dtype.kind != "f":
            raise DataError(
                f"prediction {quoted(path)} has {values.dtype} values without a stated scale; set scale to its values "
                "per metre, such as 1000 for millimetres or 256 for KITTI's"
            )
        used = 1.0
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, and are refused
        depth = values.astype(np.float32) / np.float32(used)
    check_depth(depth, path)
    return DepthMap(torch.from_numpy(depth), used, stated is not None)


def check_depth(depth: np.ndarray, path: Path) -> None:
    """Raise unless all values are finite and at least 0, and one is greater.

    Raises:
        DataError: with the number of wrong values and one of them.
    """
    wrong = ~((depth >= 0) & (depth < np.inf))
    if wrong.any():
        raise DataError(
            f"prediction {quoted(path)} has {int(wrong.sum())} values that are negative or not finite, such as "
            f"{depth[wrong][0]:g}; a prediction must have a depth at each pixel"
        )
    if not depth.any():
        raise DataError(f"prediction {quoted(path)} is 0 everywhere; {AGAIN}")


def read_image(path: Path) -> tuple[np.ndarray, float | None]:
    """Return the values of a PNG or TIFF file, and the values per metre that its text `depth_scale` states."""
    with Image.open(path, formats=["PNG", "TIFF"]) as image:
        values, text = np.array(image), image.info.get("depth_scale")
    return values, None if text is None else float(text)


def read_array(path: Path) -> tuple[np.ndarray, None]:
    """Return the array (H, W) of an .npy or .npz file; further axes of length 1 are removed.

    Raises:
        DataError: if an .npz file has several arrays and none is named `depth`.
    """
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        values = loaded
    else:
        with loaded:
            key = KEY if KEY in loaded.files or len(loaded.files) != 1 else loaded.files[0]
            if key not in loaded.files:
                raise DataError(
                    f"prediction {quoted(path)} holds the arrays {', '.join(loaded.files) or 'none'}; it must "
                    f"hold a single array, or one named {KEY}"
                )
            values = loaded[key]
    return (values.squeeze() if values.ndim > 2 else values), None
