"""Errors, baselines and intervals, independent of CLIP and of heads."""

from depthclip.evaluation.boundary import BoundaryF1
from depthclip.evaluation.normals import NormalErrors
from depthclip.evaluation.ranges import DepthRanges

__all__ = [
    "BoundaryF1",
    "DepthRanges",
    "NormalErrors",
]
