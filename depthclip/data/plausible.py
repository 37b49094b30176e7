"""A check of the unit of depth, because a wrong unit leads to wrong figures instead of an error."""

import math
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

from depthclip.protocol import Scoring

FIRST = 8  # depth maps that are checked
LEAST_SHARE = 1 / 30  # of the cap: the median depth of indoor and street data sets is 1/10 to 1/3 of it


class DepthCheck:
    """Warn once if the first depth maps do not fit the range of depths that count.

    Args:
        scoring: range of depths that count.
        unit: argument that sets the unit of the files, with its value, such as `scale 1000`.
    """

    def __init__(self, scoring: Scoring, unit: str) -> None:
        self.scoring = scoring
        self.unit = unit
        self.valid: list[Tensor] = []
        self.done = False

    def see(self, depths: Iterable[Tensor]) -> None:
        """Add depth maps, (H, W) metres with 0 = invalid, and check the first eight."""
        for depth in depths:
            if not self.done:
                self.valid.append(depth[depth > 0])
            if len(self.valid) == FIRST:
                self.conclude()

    def conclude(self) -> None:
        """Check the depth maps added so far, unless they are checked already."""
        if self.done or not self.valid:
            return
        depths, count = torch.cat(self.valid), len(self.valid)
        self.done, self.valid = True, []
        if not len(depths):
            warnings.warn(f"none of the first {count} depth maps has a valid pixel; check {self.unit}", stacklevel=2)
            return
        low, high = self.scoring.min_depth, self.scoring.cap
        outside = ((depths <= low) | (depths >= high)).float().mean()
        median = float(depths.median())
        if outside > 0.5 or (math.isfinite(high) and median < high * LEAST_SHARE):
            warnings.warn(
                f"the median depth of the first {count} depth maps is {median:.3g} m, but scoring counts {low:g} to "
                f"{high:g} m; check {self.unit} and scoring.max_depth",
                stacklevel=2,
            )
