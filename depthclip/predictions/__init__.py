"""Depth maps that any method wrote to files, as rows of an evaluation."""

from depthclip.predictions.predicted import Predicted

__all__ = ["Predicted"]
