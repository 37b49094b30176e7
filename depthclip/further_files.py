"""Further files of `predict` beside the depth maps: panels, and maps of uncertainty."""

from typing import BinaryIO

import numpy as np

from depthclip.errors import InputError
from depthclip.figure_files import write_figure
from depthclip.pictures import draw_panel
from depthclip.shown import Prediction


def write_panel(file: BinaryIO, prediction: Prediction, file_type: str) -> None:
    """Draw the image, its depth and spread, and the weight of each word, at the size that the model saw.

    Args:
        file: opened binary file.
        prediction: the depth of the image and the output of the head.
        file_type: `png`, `pdf` or `svg`.
    """
    write_figure(draw_panel([prediction.shown()], prediction.words), file, file_type)


def write_uncertainty(file: BinaryIO, prediction: Prediction) -> None:
    """Write the maps (H, W) float32 of the `Estimate` of an image, except for its depth, as .npz.

    The arrays are `spread`, `disagreement`, `low` and `high` in metres, and `entropy` in nats. A map that the model
    does not have is left out.

    Args:
        file: opened binary file.
        prediction: the depth of the image and the output of the head.

    Raises:
        InputError: if the model has none of the maps.
    """
    maps = prediction.estimate()._asdict()
    found = {name: np.asarray(each, np.float32) for name, each in maps.items() if name != "depth" and each is not None}
    if not found:
        raise InputError(
            f"formats 'uncertainty': the model has no map of uncertainty for {prediction.name}; use a head with words, "
            "set model.mirror to true, or remove uncertainty from formats"
        )
    np.savez(file, **found)  # type: ignore[arg-type]  # of the option allow_pickle, which no map is named
