"""Time several pieces of work in turn, so that other programs disturb all of them equally."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch


@dataclass(frozen=True)
class Case:
    """A piece of work to be timed.

    Args:
        name: name of the case.
        run: function that does the work once. It returns the seconds that count, or None for those of the whole call.
        images: number of images that one call processes.
    """

    name: str
    run: Callable[[], float | None]
    images: int = 1


class Spread(NamedTuple):
    """The median and the quartiles of a figure over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Timing:
    """The seconds of a case in each round.

    Args:
        name: name of the case.
        images: number of images of a call.
        seconds: seconds of a call, by round.
    """

    name: str
    images: int
    seconds: tuple[float, ...]

    @property
    def per_image(self) -> Spread:
        """The seconds of an image."""
        return spread_of(np.array(self.seconds) / self.images)

    @property
    def rate(self) -> Spread:
        """The images of a second."""
        return spread_of(self.images / np.array(self.seconds))

    def ratio(self, other: "Timing") -> Spread:
        """Return the seconds of an image as a multiple of another case's, round by round."""
        return spread_of(np.array(self.seconds) / self.images / (np.array(other.seconds) / other.images))

    def plus(self, other: "Timing", factor: float = 1.0) -> "Timing":
        """Return the timing of an image of this case and, times a factor, of another one, round by round."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return Timing(self.name, 1, tuple(a / self.images + factor * b / other.images for a, b in pairs))


def spread_of(values: np.ndarray | Sequence[float]) -> Spread:
    """Return the median and the quartiles of values."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Spread(median, low, high)


def measure(cases: Sequence[Case], repeats: int, device: torch.device | None = None) -> dict[str, Timing]:
    """Return the timing of each case by name.

    Each round runs all cases in their order; the first round is not counted.

    Args:
        cases: cases with different names.
        repeats: number of rounds that count.
        device: device whose work must be complete when the clock is read; None for the CPU.
    """
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(repeats + 1):
        for case in cases:
            wait_for(device)
            start = time.perf_counter()
            counted = case.run()
            wait_for(device)
            elapsed = time.perf_counter() - start
            if number:
                seconds[case.name].append(elapsed if counted is None else counted)
    return {case.name: Timing(case.name, case.images, tuple(seconds[case.name])) for case in cases}


def wait_for(device: torch.device | None) -> None:
    """Wait until a CUDA device has finished its work."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
