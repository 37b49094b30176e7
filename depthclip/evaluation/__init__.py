"""Errors, baselines and intervals, independent of CLIP and of heads."""

from depthclip.evaluation.boundary import BoundaryF1
from depthclip.evaluation.conformal import Conformal
from depthclip.evaluation.measures import ErrorMeasure, Measure, ScoredImage
from depthclip.evaluation.normals import NormalErrors
from depthclip.evaluation.ranges import DepthRanges
from depthclip.evaluation.spearman import Spearman
from depthclip.evaluation.uncertainty import Coverage, NegativeLogLikelihood, Sparsification

__all__ = [
    "BoundaryF1",
    "Conformal",
    "Coverage",
    "DepthRanges",
    "ErrorMeasure",
    "Measure",
    "NegativeLogLikelihood",
    "NormalErrors",
    "ScoredImage",
    "Sparsification",
    "Spearman",
]
