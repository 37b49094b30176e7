"""Errors, baselines and intervals, independent of CLIP and of heads."""

from depthclip.evaluation.measures import ErrorMeasure, Measure, ScoredImage
from depthclip.evaluation.spearman import Spearman

__all__ = ["ErrorMeasure", "Measure", "ScoredImage", "Spearman"]
