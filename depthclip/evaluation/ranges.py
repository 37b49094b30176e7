"""Errors by range of depth."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from depthclip.checks import LARGEST_DEPTH, check_choice, check_number
from depthclip.errors import InputError
from depthclip.evaluation.measures import Measure, ScoredImage
from depthclip.evaluation.metrics import ERRORS, depth_errors, higher_is_better


class DepthRanges(Measure):
    """Errors of the pixels whose ground truth lies in a range of depth, for each image and then the mean over images.

    A range includes its lower and excludes its upper edge. Its columns have names such as `abs_rel 0-2 m`. An image
    without a pixel in a range has no figure of that range.

    Args:
        edges: ascending depths in metres; two neighbours are the edges of a range.
        errors: names of errors, some of abs_rel, sq_rel, rmse, rmse_log, log10, silog, delta1, delta2 and delta3.

    Raises:
        InputError: if the edges do not ascend, or an error is unknown.
    """

    def __init__(
        self, edges: tuple[float, ...] = (0.0, 2.0, 4.0, 10.0), errors: tuple[str, ...] = ("abs_rel", "delta1")
    ) -> None:
        for edge in edges:
            check_number("edges: edge", edge, at_least=0, at_most=LARGEST_DEPTH, unit="metres")
        if len(edges) < 2 or any(low >= high for low, high in pairwise(edges)):
            raise InputError(f"edges {edges!r} must be two or more ascending depths in metres, such as [0, 2, 4, 10]")
        for error in errors:
            check_choice("errors", error, ERRORS)
        if not errors or len(set(errors)) < len(errors):
            raise InputError(f"errors {errors!r} must be different names; use some of {', '.join(ERRORS)}")
        self.edges = tuple(float(edge) for edge in edges)
        self.columns = [ERRORS.index(error) for error in errors]
        names = [[f"{error} {low:g}-{high:g} m" for error in errors] for low, high in pairwise(self.edges)]
        self.names = tuple(name for of_range in names for name in of_range)
        self.higher = tuple(name for name in self.names if higher_is_better(name))

    def of(self, image: ScoredImage) -> Tensor:
        """Return the errors of each prediction by range, (V, M) float64; NaN for a range without a pixel."""
        figures = []
        for low, high in pairwise(self.edges):
            inside = (image.target >= low) & (image.target < high)
            if inside.any():
                figures.append(depth_errors(image.prediction[:, inside], image.target[inside])[:, self.columns])
            else:
                shape = (len(image.prediction), len(self.columns))
                figures.append(image.target.new_full(shape, math.nan, dtype=torch.float64))
        return torch.cat(figures, 1)
