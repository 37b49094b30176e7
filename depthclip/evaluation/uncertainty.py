"""Measures of uncertainty: whether the standard deviation of a prediction orders and covers its errors."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor

from depthclip.checks import brief, check_choice, check_count, check_number
from depthclip.errors import InputError
from depthclip.evaluation.measures import Measure, ScoredImage

SPARSIFIED = ("abs_rel", "rmse")


class SpreadMeasure(Measure):
    """Figures of a prediction and its standard deviation; a subclass sets `names` and defines `figures`.

    They are NaN for predictions without standard deviation.
    """

    needs_spread = True

    def of(self, image: ScoredImage) -> Tensor:
        """Return the figures of each prediction of one image, (V, M)."""
        missing = torch.full((len(self.names),), torch.nan, dtype=torch.float64, device=image.target.device)
        spreads = torch.full_like(image.prediction, torch.nan) if image.spread is None else image.spread
        rows = [
            missing if spread.isnan().any() else self.figures(prediction, image.target, spread)
            for prediction, spread in zip(image.prediction, spreads, strict=True)
        ]
        return torch.stack(rows)

    def figures(self, prediction: Tensor, target: Tensor, spread: Tensor) -> Tensor:
        """Return the M figures of one prediction, (M,) float64.

        Args:
            prediction: (N,) metres.
            target: (N,) metres.
            spread: (N,) metres, the standard deviation, without NaN.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement figures(prediction, target, spread)")


class Sparsification(SpreadMeasure):
    """The area under the sparsification error, AUSE (Ilg et al., ECCV 2018); 0 if the spread orders pixels by error.

    The sparsification curve is the error of the pixels that remain after a share x of them is removed, those of the
    largest spread first; the curve of the oracle removes those of the largest error first. AUSE is the area between
    both over x = 0, 1 / steps, ..., 1, by the trapezoidal rule; both curves end at 0. The curves are not divided by the
    error of all pixels, as in mono-uncertainty (Poggi et al., CVPR 2020), so that the unit is that of the error. Pixels
    of equal spread are removed in random order, in expectation.

    Args:
        errors: errors of the curves, of `abs_rel` and `rmse`.
        steps: number of shares, from 2 to 1000.

    Raises:
        InputError: if an error is unknown, occurs twice or none is given, or steps is out of range.
    """

    def __init__(self, errors: Sequence[Literal["abs_rel", "rmse"]] = ("abs_rel", "rmse"), steps: int = 20) -> None:
        if not isinstance(errors, list | tuple) or not errors or len({*errors}) < len(errors):
            raise InputError(f"errors {brief(errors)} of Sparsification must be a list of abs_rel, rmse or both")
        for error in errors:
            check_choice("errors of Sparsification:", error, SPARSIFIED)
        check_count("steps", steps, at_least=2, at_most=1000, unit="shares", hint="use 20")
        self.errors, self.steps = tuple(errors), steps
        self.names = tuple(f"ause_{error}" for error in errors)

    def figures(self, prediction: Tensor, target: Tensor, spread: Tensor) -> Tensor:
        """Return the AUSE of each error, (M,)."""
        difference = (prediction - target).double()
        areas = []
        for error in self.errors:
            pixels = difference.square() if error == "rmse" else difference.abs() / target
            curves = torch.stack([self.remaining(mean_of_ties(pixels, spread), spread), self.remaining(pixels, pixels)])
            curves = curves.sqrt() if error == "rmse" else curves
            by_spread, oracle = torch.nn.functional.pad(curves, (0, 1))  # no pixel and no error remains at the end
            areas.append(torch.trapezoid(by_spread - oracle, dx=1 / self.steps))
        return torch.stack(areas)

    def remaining(self, pixels: Tensor, key: Tensor) -> Tensor:
        """Return the mean error of the pixels that remain after each share but the last, (steps,).

        Args:
            pixels: (N,) error of each pixel.
            key: (N,) values of which the largest are removed first.
        """
        sums = pixels[key.argsort()].cumsum(0)
        left = 1 - torch.arange(self.steps, device=key.device, dtype=torch.float64) / self.steps
        counts = (left * len(pixels)).round().long().clamp_min(1)
        return sums[counts - 1] / counts


class Coverage(SpreadMeasure):
    """The share of pixels in the Gaussian intervals prediction +- z spread, for each nominal level.

    The column of level 0.9 is `coverage_0.9`. A figure below the level means intervals that are too narrow.

    Args:
        levels: nominal levels, each greater than 0 and less than 1.

    Raises:
        InputError: if a level is out of range, occurs twice, or there is none.
    """

    def __init__(self, levels: Sequence[float] = (0.5, 0.9)) -> None:
        if not isinstance(levels, list | tuple) or not levels or len({*levels}) < len(levels):
            raise InputError(f"levels {brief(levels)} must be a list of different shares; use [0.5, 0.9]")
        for level in levels:
            check_number("levels: the level", level, above=0, at_most=0.9999, hint="use a share such as 0.9")
        self.deviates = tuple(NormalDist().inv_cdf((1 + level) / 2) for level in levels)
        self.names = self.higher = tuple(f"coverage_{level:g}" for level in levels)

    def figures(self, prediction: Tensor, target: Tensor, spread: Tensor) -> Tensor:
        """Return the coverage of each level, (M,)."""
        errors = (prediction - target).abs()
        return torch.stack([(errors <= z * spread).double().mean() for z in self.deviates])


class NegativeLogLikelihood(SpreadMeasure):
    """The mean negative log likelihood of the ground truth under the Gaussian of prediction and spread, in nats.

    With e = prediction - target and s = max(spread, floor): `nll` = mean of ln(s) + ln(2 pi) / 2 + e^2 / (2 s^2).

    Args:
        floor: smallest standard deviation in metres, from 1e-4 to 10; without it, a pixel of spread 0 decides the mean.

    Raises:
        InputError: if the floor is out of range.
    """

    names = ("nll",)

    def __init__(self, floor: float = 0.1) -> None:
        check_number("floor", floor, at_least=1e-4, at_most=10, unit="metres", hint="use 0.1 for 10 cm")
        self.floor = floor

    def figures(self, prediction: Tensor, target: Tensor, spread: Tensor) -> Tensor:
        """Return the mean negative log likelihood, (1,)."""
        deviation = spread.double().clamp_min(self.floor)
        squares = ((prediction - target) / deviation).square()
        return (deviation.log() + squares / 2).mean(0, keepdim=True) + math.log(2 * math.pi) / 2


def mean_of_ties(values: Tensor, key: Tensor) -> Tensor:
    """Return (N,) values, each replaced by the mean of the values of the same key (N,)."""
    _, group, counts = key.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=values.dtype, device=values.device).index_add(0, group, values)
    return (sums / counts)[group]
