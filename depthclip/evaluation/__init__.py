"""Errors, baselines and intervals, independent of CLIP and of heads."""

from depthclip.evaluation.boundary import BoundaryF1
from depthclip.evaluation.measures import ErrorMeasure, Measure, ScoredImage
from depthclip.evaluation.normals import NormalErrors
from depthclip.evaluation.ranges import DepthRanges
from depthclip.evaluation.spearman import Spearman

__all__ = [
    "BoundaryF1",
    "DepthRanges",
    "ErrorMeasure",
    "Measure",
    "NormalErrors",
    "ScoredImage",
    "Spearman",
]
