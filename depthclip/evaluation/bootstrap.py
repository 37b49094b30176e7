"""Bootstrap statistics of errors per image: 95 % intervals, paired differences, p-values and Holm's correction.

The bootstrap resamples independent units: scenes or drives if there are at least ten of them, images otherwise. It
resamples seeds too if a row has several. Differences are paired: both rows are resampled with the same units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from depthclip.evaluation.metrics import ERRORS

DRAWS = 2000
FEWEST_SCENES = 10  # percentiles of a bootstrap over fewer units mean little


class TestSet(NamedTuple):
    """The images of a test set, and how many of their pixels a protocol scores.

    Args:
        data: name of the data set.
        images: names of the N images.
        pixels: numbers of scored pixels of the N images; 0 or negative for skipped images.
    """

    data: str
    images: tuple[str, ...]
    pixels: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of images that are not skipped."""
        return sum(pixels > 0 for pixels in self.pixels)


@dataclass(frozen=True)
class Scored:
    """The errors of a prediction on each image of a test set.

    Args:
        errors: (N, 9) in the order of `ERRORS`; NaN for skipped images.
        images: names of the N images.
        scenes: names of the scenes or drives of the N images; "" if the data set has none.
        pixels: numbers of scored pixels of the N images; 0 or negative for skipped images.
        data: name of the data set.
    """

    errors: np.ndarray
    images: tuple[str, ...]
    scenes: tuple[str, ...]
    pixels: tuple[int, ...]
    data: str = ""

    @property
    def test_set(self) -> "TestSet":
        """The test set; two rows can be compared, or drawn on one axis, only if it is the same."""
        return TestSet(self.data, self.images, self.pixels)

    def agrees(self, other: "Scored") -> bool:
        """Return whether test set and errors are equal to those of another prediction."""
        return self.test_set == other.test_set and np.array_equal(self.errors, other.errors, equal_nan=True)


@dataclass(frozen=True)
class Interval:
    """A value and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def units_of(scored: Scored) -> tuple[str, np.ndarray]:
    """Return the unit of the bootstrap, `scenes` or `images`, and the index of the unit of each image, (N,)."""
    names, scene = np.unique(scored.scenes, return_inverse=True)
    return ("scenes", scene) if len(names) >= FEWEST_SCENES else ("images", np.arange(len(scored.images)))


def draw_means(members: Sequence[Scored], draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return the mean errors of bootstrap draws, (draws, 9).

    Rows with the same test set and number of seeds are resampled with the same units and seeds.

    Args:
        members: the errors of each seed, all on the same test set.
        draws: number of draws.
        seed: seed of the random generator.
    """
    errors = np.stack([scored.errors for scored in members])  # (S, N, 9)
    counted = ~np.isnan(errors).any((0, 2))
    errors = errors[:, counted]
    _, unit = np.unique(units_of(members[0])[1][counted], return_inverse=True)
    sizes = np.bincount(unit).astype(float)
    units = len(sizes)
    sums = np.zeros((len(errors), units, len(ERRORS)))
    for of_seed, total in zip(errors, sums, strict=True):
        np.add.at(total, unit, of_seed)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(units, np.full(units, 1 / units), size=draws)
    seeds = rng.multinomial(len(errors), np.full(len(errors), 1 / len(errors)), size=draws)
    drawn = np.einsum("rs,ru,suk->rk", seeds, weights, sums, optimize=True)
    return drawn / (seeds.sum(1) * (weights @ sizes))[:, None]


def mean_errors(members: Sequence[Scored]) -> np.ndarray:
    """Return the mean errors over seeds and over the images that are not skipped, (9,)."""
    return np.nanmean(np.concatenate([scored.errors for scored in members]), 0)


def intervals(means: np.ndarray, drawn: np.ndarray) -> dict[str, Interval]:
    """Return means (9,) with the central 95 % of their draws (R, 9), by error."""
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return {error: Interval(float(means[k]), float(low[k]), float(high[k])) for k, error in enumerate(ERRORS)}


def p_values(drawn: np.ndarray) -> dict[str, float]:
    """Return the two-sided p-values of drawn differences (R, 9) against 0, by error.

    p = 2 (1 + min(#{d <= 0}, #{d >= 0})) / (R + 1), at most 1 (Davison and Hinkley, Bootstrap Methods, 1997). It is
    below 0.05 exactly if the 95 % interval excludes 0, up to ties.
    """
    fewer = np.minimum((drawn <= 0).sum(0), (drawn >= 0).sum(0))
    return dict(zip(ERRORS, np.minimum(1.0, 2 * (1 + fewer) / (len(drawn) + 1)).tolist(), strict=True))


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple comparisons by the step-down method of Holm (1979), in the same order."""
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted.tolist()
