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
    """The images of a test set, how many of their pixels a protocol scores, and the alignment.

    Args:
        data: name of the data set.
        images: names of the N images.
        pixels: numbers of scored pixels of the N images; 0 or negative for skipped images.
        alignment: alignment of the predictions.
    """

    data: str
    images: tuple[str, ...]
    pixels: tuple[int, ...]
    alignment: str = "none"

    @property
    def unaligned(self) -> "TestSet":
        """The same test set, whatever the alignment."""
        return self._replace(alignment="none")

    @property
    def size(self) -> int:
        """The number of images that are not skipped."""
        return sum(pixels > 0 for pixels in self.pixels)


@dataclass(frozen=True)
class Scored:
    """The errors of a prediction on each image of a test set.

    Args:
        errors: (N, 9 + M) in the order of `columns`; NaN for skipped images, and where a further figure is not defined.
        images: names of the N images.
        scenes: names of the scenes or drives of the N images; "" if the data set has none.
        pixels: numbers of scored pixels of the N images; 0 or negative for skipped images.
        data: name of the data set.
        columns: names of the nine errors and of M further figures.
        higher: names of the further figures of which the larger is the better.
        alignment: alignment of the prediction.
    """

    errors: np.ndarray
    images: tuple[str, ...]
    scenes: tuple[str, ...]
    pixels: tuple[int, ...]
    data: str = ""
    columns: tuple[str, ...] = ERRORS
    higher: tuple[str, ...] = ()
    alignment: str = "none"

    @property
    def test_set(self) -> "TestSet":
        """The test set; two rows can be compared, or drawn on one axis, only if it is the same."""
        return TestSet(self.data, self.images, self.pixels, self.alignment)

    def agrees(self, other: "Scored") -> bool:
        """Return whether test set, columns and errors are equal to those of another prediction."""
        same = self.test_set == other.test_set and self.columns == other.columns
        return same and np.array_equal(self.errors, other.errors, equal_nan=True)

    def column(self, name: str) -> np.ndarray:
        """Return a figure of each image, (N,); NaN for a name that is not in `columns`."""
        return self.errors[:, self.columns.index(name)] if name in self.columns else np.full(len(self.images), np.nan)


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


def columns_of(members: Sequence[Scored]) -> tuple[str, ...]:
    """Return the names of the nine errors and of the further figures of all seeds."""
    return tuple(dict.fromkeys(name for scored in members for name in scored.columns))


def draw_means(members: Sequence[Scored], draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return the mean figures of bootstrap draws, (draws, 9 + M), in the order of `columns_of(members)`.

    Rows with the same test set and number of seeds are resampled with the same units and seeds. An image for which a
    further figure is not defined is left out of the mean of that figure; the mean is NaN if no image is left.

    Args:
        members: the errors of each seed, all on the same test set.
        draws: number of draws.
        seed: seed of the random generator.
    """
    errors = np.stack([scored.errors[:, : len(ERRORS)] for scored in members])  # (S, N, 9)
    counted = ~np.isnan(errors).any((0, 2))
    _, unit = np.unique(units_of(members[0])[1][counted], return_inverse=True)
    sizes = np.bincount(unit).astype(float)
    units = len(sizes)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(units, np.full(units, 1 / units), size=draws)
    seeds = rng.multinomial(len(errors), np.full(len(errors), 1 / len(errors)), size=draws)

    def drawn_sums(values: np.ndarray) -> np.ndarray:
        """Return the sums (draws, K) of values (S, N, K) over the units and seeds of each draw."""
        sums = np.zeros((len(values), units, values.shape[2]))
        for of_seed, total in zip(values, sums, strict=True):
            np.add.at(total, unit, of_seed)
        return np.einsum("rs,ru,suk->rk", seeds, weights, sums, optimize=True)

    drawn = drawn_sums(errors[:, counted]) / (seeds.sum(1) * (weights @ sizes))[:, None]
    further = columns_of(members)[len(ERRORS) :]
    if not further:
        return drawn
    values = np.stack([np.stack([scored.column(name) for name in further], 1) for scored in members])[:, counted]
    numbers = drawn_sums((~np.isnan(values)).astype(float))
    means = np.divide(
        drawn_sums(np.nan_to_num(values, posinf=np.inf, neginf=-np.inf)),
        numbers,
        out=np.full_like(numbers, np.nan),
        where=numbers > 0,
    )
    return np.concatenate([drawn, means], 1)


def mean_errors(members: Sequence[Scored]) -> np.ndarray:
    """Return the mean figures over seeds and over the images for which they are defined, (9 + M,)."""
    nine = np.nanmean(np.concatenate([scored.errors[:, : len(ERRORS)] for scored in members]), 0)
    further = [np.concatenate([each.column(name) for each in members]) for name in columns_of(members)[len(ERRORS) :]]
    return np.array([*nine, *(np.nan if np.isnan(values).all() else np.nanmean(values) for values in further)])


def intervals(means: np.ndarray, drawn: np.ndarray, columns: Sequence[str] = ERRORS) -> dict[str, Interval]:
    """Return means (K,) with the central 95 % of their draws (R, K), by column; columns without a mean are left out."""
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    for k in range(len(ERRORS), len(columns)):
        if not np.isnan(means[k]):
            low[k], high[k] = np.nanpercentile(drawn[:, k], [2.5, 97.5])
    return {
        column: Interval(float(means[k]), float(low[k]), float(high[k]))
        for k, column in enumerate(columns)
        if k < len(ERRORS) or not np.isnan(means[k])
    }


def p_values(drawn: np.ndarray, columns: Sequence[str] = ERRORS) -> dict[str, float]:
    """Return the two-sided p-values of drawn differences (R, K) against 0, by column; draws of NaN do not count.

    p = 2 (1 + min(#{d <= 0}, #{d >= 0})) / (R + 1), at most 1 (Davison and Hinkley, Bootstrap Methods, 1997). It is
    below 0.05 exactly if the 95 % interval excludes 0, up to ties.
    """
    fewer = np.minimum((drawn <= 0).sum(0), (drawn >= 0).sum(0))
    defined = (~np.isnan(drawn)).sum(0)
    return dict(zip(columns, np.minimum(1.0, 2 * (1 + fewer) / (defined + 1)).tolist(), strict=True))


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple comparisons by the step-down method of Holm (1979), in the same order."""
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted.tolist()
