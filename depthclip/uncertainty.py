"""Maps of uncertainty: of a photograph, and of the images that a test scores."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from depthclip.evaluation.conformal import Conformal
from depthclip.head.interfaces import Coarse
from depthclip.protocol import View


class Estimate(NamedTuple):
    """The depth of a photograph and its uncertainty, maps (H, W) float32; None where the model has no such map.

    All maps are upsampled from the patches as the depth is.

    Args:
        depth: in metres.
        spread: standard deviation in metres; None for a head without bins that estimates none.
        entropy: entropy of the weights of the K words in nats, from 0 to ln K; None for a head without words.
        disagreement: half the absolute difference of the depths of the image and its mirrored copy in metres; None
            without `mirror`.
        low: lower bound of the interval in metres, at least 0; None unless intervals are calibrated.
        high: upper bound of the interval in metres; None unless intervals are calibrated.
    """

    depth: np.ndarray
    spread: np.ndarray | None = None
    entropy: np.ndarray | None = None
    disagreement: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def _repr_png_(self) -> bytes:
        """Return a picture of the depth with a scale bar in metres, which notebooks show."""
        from depthclip.pictures import picture_of_depth  # it needs matplotlib, which is slow to import

        return picture_of_depth(self.depth)


def estimate(output: Coarse, view: View, size: tuple[int, int], intervals: Conformal | None) -> Estimate:
    """Return the depth of an image and its uncertainty.

    Args:
        output: outputs of a head for one image.
        view: view by which the maps are upsampled.
        size: (H, W) of the image.
        intervals: intervals; None for none.
    """

    def full(coarse: Tensor | None) -> Tensor | None:
        return None if coarse is None else view.upsample(coarse, size)[0, 0].float()

    depth, spread = view.upsample(output.depth, size)[0, 0].float(), full(output.spread)
    bounds = (None, None) if intervals is None or not intervals.calibrated else intervals.bounds(depth, spread)
    maps = (spread, full(output.entropy), full(output.disagreement), *bounds)
    return Estimate(depth.cpu().numpy(), *(None if each is None else each.cpu().numpy() for each in maps))


def spread_maps(outputs: Sequence[Coarse], view: View, size: tuple[int, int]) -> Tensor:
    """Return standard deviations in metres, (V, h, w), NaN for outputs without any.

    Args:
        outputs: outputs of V heads for one image.
        view: view by which the maps are upsampled.
        size: (h, w) that the model saw.
    """
    spread = outputs[0].depth.new_full((len(outputs), *size), torch.nan, dtype=torch.float32)
    for row, output in zip(spread, outputs, strict=True):
        if (coarse := output.spread) is not None:
            row.copy_(view.upsample(coarse, size)[0, 0])
    return spread
