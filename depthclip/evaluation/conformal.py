"""Split-conformal intervals of depth, calibrated on the pixels of images or scenes."""

import math
from collections import Counter
from typing import Literal

import torch
from torch import Tensor, nn

from depthclip.checks import check_choice, check_number
from depthclip.errors import InputError
from depthclip.evaluation.measures import Measure, ScoredImage
from depthclip.gather import gather

UNITS = ("image", "scene")
SCORES = ("spread", "relative", "absolute")
SMALLEST, LARGEST, CELLS = 1e-4, 1e4, 16_000  # the edges of the histogram of scores ascend by 0.12 %
ROUNDING = 1e-9  # of sums of shares in float64


class Conformal(nn.Module):
    """Intervals of depth that contain the ground truth of a share `level` of the pixels of new images or scenes.

    The interval of a pixel with prediction p is [max(p - q u, 0), p + q u] with the width u = max(spread, floor),
    max(p, floor) or 1 metre. The factor q is the hierarchical conformal quantile (Lee, Barber and Willett,
    arXiv 2306.06342) of the scores |target - p| / u of a validation split. Each of its n units, images or scenes, has
    the mass 1 / (n + 1), which its pixels share; the rest of the mass is at infinity; q is the smallest value below
    which the mass is at least `level`.

    If the units of validation and test are exchangeable, a random pixel of a new unit lies in its interval with a
    probability of at least `level`. The probability is over validation splits and new units together: an image, a type
    of scene or a depth may have another coverage, and nothing holds for images of another kind.

    Each unit adds the shares of its pixels in a histogram of 16,000 cells that ascend by 0.12 % from 1e-4 to 1e4. A
    score is rounded up to the edge of its cell, so that q is at most 0.12 % too large. The memory is one histogram of
    128 kB for images, and one for each scene. The images of a scene share its mass equally.

    Args:
        level: share of pixels that the intervals contain, greater than 0 and at most 0.999.
        unit: what is exchangeable: `image` if images are independent, `scene` for frames of videos or rooms.
        score: width of the intervals: proportional to the depth (`relative`), constant (`absolute`), or proportional to
            the `spread`, for heads that have one.
        floor: smallest width u in metres that `spread` and `relative` use, from 1e-3 to 1.

    Raises:
        InputError: if an argument is out of its range; from `compute`, if there are too few units for the level.
    """

    quantile: Tensor  # () float32, q; 0 before `compute`
    units: Tensor  # () int64, the number of units behind it; 0 before `compute`
    settings: Tensor  # (4,) int64; a checkpoint of other settings holds another quantile

    def __init__(
        self,
        level: float = 0.9,
        unit: Literal["image", "scene"] = "image",
        score: Literal["spread", "relative", "absolute"] = "relative",
        floor: float = 0.01,
    ) -> None:
        super().__init__()
        check_number("intervals.level", level, above=0, at_most=0.999, hint="use a share such as 0.9")
        check_choice("intervals.unit", unit, UNITS)
        check_choice("intervals.score", score, SCORES)
        check_number("intervals.floor", floor, at_least=1e-3, at_most=1, unit="metres", hint="use 0.01 for 1 cm")
        self.level, self.unit, self.score, self.floor = level, unit, score, floor
        settings = [round(level * 1e6), UNITS.index(unit), SCORES.index(score), round(floor * 1e6)]
        self.register_buffer("quantile", torch.tensor(0.0))
        self.register_buffer("units", torch.tensor(0))
        self.register_buffer("settings", torch.tensor(settings))
        self.reset()

    @property
    def calibrated(self) -> bool:
        """Whether the intervals are known."""
        return bool(self.units)

    @property
    def fewest_units(self) -> int:
        """The smallest number of units that the level needs: n / (n + 1) must be at least the level."""
        return max(1, math.ceil(self.level / (1 - self.level) - ROUNDING))

    def check_units(self, count: int) -> None:
        """Raise if there are too few units for the level.

        Raises:
            InputError: naming the number that is needed.
        """
        if count < self.fewest_units:
            raise InputError(
                f"intervals.level {self.level:g} needs at least {self.fewest_units} {self.unit}s of the validation "
                f"split, but there are {count}; use more validation data, a lower level, "
                f"{'unit: image if images are independent, ' if self.unit == 'scene' else ''}or null for no intervals"
            )

    def reset(self) -> None:
        """Clear the images that `update` added; the intervals stay."""
        self.shares: dict[str, Tensor] = {}  # by unit, the sum of the histograms of its images
        self.images: Counter[str] = Counter()

    def update(self, prediction: Tensor, target: Tensor, spread: Tensor | None, scene: str) -> None:
        """Add an image; an image without pixels is left out.

        Args:
            prediction: (N,) metres, at the pixels that count.
            target: (N,) metres, the ground truth.
            spread: (N,) metres, the standard deviation; None if the score does not depend on it.
            scene: scene of the image.

        Raises:
            InputError: if the score depends on a spread that the head does not have.
        """
        if not len(target):
            return
        scores = ((target - prediction).abs() / self.width(prediction, spread)).double().cpu()
        counts = torch.bincount(torch.bucketize(scores, edges()), minlength=CELLS + 2)
        unit = scene if self.unit == "scene" else ""
        self.shares[unit] = self.shares.get(unit, 0) + counts / len(scores)
        self.images[unit] += 1

    def compute(self) -> None:
        """Compute the intervals from the images of all devices; every device must call it.

        Raises:
            InputError: if there are too few units for the level, more scores than the level leaves exceed 10,000, or
                another process has ended.
        """
        shares: dict[str, Tensor] = {}
        images: Counter[str] = Counter()
        for part, counts in gather((self.shares, self.images)):
            images += counts
            for unit, share in part.items():
                shares[unit] = shares.get(unit, 0) + share
        self.reset()
        units = len(images) if self.unit == "scene" else images.total()
        self.check_units(units)
        masses = [share / (images[unit] if self.unit == "scene" else 1) for unit, share in sorted(shares.items())]
        below = torch.stack(masses).sum(0).cumsum(0) / (units + 1)
        cell = int((below < self.level - ROUNDING).sum())
        if cell > CELLS:
            raise InputError(
                f"intervals.score {self.score}: errors are more than {LARGEST:g} times the width for more pixels than "
                f"the level {self.level:g} leaves; set intervals.floor higher, or use absolute"
            )
        self.quantile.fill_(edges()[cell])
        self.units.fill_(units)

    def width(self, prediction: Tensor, spread: Tensor | None) -> Tensor:
        """Return the width u by which errors are divided, in metres.

        Args:
            prediction: depth in metres.
            spread: standard deviation in metres, of the same shape; None if the score does not depend on it.

        Raises:
            InputError: if the score depends on a spread that the head does not have.
        """
        if self.score == "absolute":
            return torch.ones_like(prediction)
        if self.score == "relative":
            return prediction.clamp_min(self.floor)
        if spread is None or bool(spread.isnan().any()):
            raise InputError(
                "intervals.score spread needs a head with bins or with a deviation, but this head has neither; use "
                "relative or absolute"
            )
        return spread.clamp_min(self.floor)

    def bounds(self, prediction: Tensor, spread: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the lower and the upper bounds of the intervals in metres.

        Args:
            prediction: depth in metres.
            spread: standard deviation in metres, of the same shape; None if the score does not depend on it.
        """
        reach = self.quantile * self.width(prediction, spread)
        return (prediction - reach).clamp_min(0), prediction + reach


class IntervalQuality(Measure):
    """The share of pixels in their interval, `coverage`, and the mean width of the intervals in metres, `width`.

    Only the first prediction, that of the head, has intervals; the figures of all others are NaN.

    Args:
        intervals: calibrated intervals.
    """

    names = ("coverage", "width")
    higher = ("coverage",)

    def __init__(self, intervals: Conformal) -> None:
        self.intervals = intervals

    @property
    def needs_spread(self) -> bool:  # type: ignore[override]  # depends on the score
        """Whether the width depends on the standard deviation of the predictions."""
        return self.intervals.score == "spread"

    def of(self, image: ScoredImage) -> Tensor:
        """Return coverage and width of each prediction of one image, (V, 2)."""
        prediction, target = image.prediction[0], image.target
        low, high = self.intervals.bounds(prediction, None if image.spread is None else image.spread[0])
        figures = torch.full((len(image.prediction), 2), torch.nan, dtype=torch.float64, device=target.device)
        figures[0, 0] = ((low <= target) & (target <= high)).double().mean()
        figures[0, 1] = (high - low).mean()
        return figures


def edges() -> Tensor:
    """Return the edges of the cells of the histogram, (CELLS + 1,) float64."""
    return torch.logspace(math.log10(SMALLEST), math.log10(LARGEST), CELLS + 1, dtype=torch.float64)
