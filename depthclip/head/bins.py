"""Bins: the depths in metres that the distance words stand for."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from depthclip.checks import brief, check_choice, check_count, check_number
from depthclip.encoder.interfaces import TextEncoder
from depthclip.errors import InputError

Placement = Literal["ends", "centres"]

# The paper's bin sets in metres (arXiv 2207.01077, study of class-dependent bins).
BINS: dict[str, tuple[float, ...]] = {
    "depthclip": (1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0),
    "cd1": (1.0, 2.0, 2.25, 2.5, 2.75, 3.0, 4.0),
    "cd2": (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0),
    "cd3": (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5),
    "cd4": (2.0, 2.5, 3.0, 3.25, 3.5, 3.75, 4.0),
}

NEAREST, FARTHEST = 1e-6, 1e6  # metres: a micrometre, a thousand kilometres
MOST_BINS = 10_000  # and so many words


class Bins(nn.Module):
    """Fixed bins: one depth for each distance word.

    Args:
        values: K depths in metres, positive and ascending, or the name of one of the paper's sets: `depthclip`, `cd1`,
            `cd2`, `cd3`, `cd4`.

    Raises:
        InputError: if the set is unknown, or the depths are not positive and ascending.
    """

    values: Tensor

    def __init__(self, values: Sequence[float] | str = "depthclip") -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(bins_of(values)), persistent=False)

    @property
    def needs_pooled(self) -> bool:
        """Whether the bins look at the image's pooled feature."""
        return False

    @property
    def count(self) -> int:
        """K, how many bins there are."""
        return len(self.values)

    @property
    def needs_depths(self) -> bool:
        """Whether the bins wait to be fitted to training depths."""
        return False

    def prepare(self, text: TextEncoder) -> None:
        """Create what depends on the text tower; the head calls this method once."""

    def update(self, depth: Tensor, scene: str) -> None:
        """Takes note of a training image's depth and scene, where the bins depend on them.

        Args:
            depth: (H, W) metres, 0 = invalid.
            scene: what the image shows, as the data set calls it; "" where it does not say.
        """

    def compute(self) -> None:
        """Fits the bins to the depths taken note of."""

    def fit(self, depths: Iterable[tuple[Tensor, str]]) -> None:
        """Fits the bins to the depths and scenes of a training set, see `update`."""
        for depth, scene in depths:
            self.update(depth, scene)
        self.compute()

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Depths in metres, (K,); bins that look at the image's pooled (B, D) give (B, K)."""
        return self.values


class LinearBins(Bins):
    """Bins at equal steps over a range.

    Args:
        count: K, the number of bins, 2 to 10,000.
        min_depth: lower end of the range in metres, positive.
        max_depth: upper end of the range in metres.
        placement: `ends` puts the first and the last bin on the ends of the range, b_k = min + (max - min) k / (K - 1);
            `centres` puts each bin in the centre of one of K equal cells, b_k = min + (max - min) (k + 1/2) / K, as the
            bin centres of AdaBins (arXiv 2011.14141) and of Auty and Mikolajczyk (ICCV Workshops 2023).

    Raises:
        InputError: if the count or the range gives no bins.
    """

    def __init__(
        self, count: int = 7, min_depth: float = 1e-3, max_depth: float = 10.0, placement: Placement = "ends"
    ) -> None:
        check_range(count, min_depth, max_depth)
        super().__init__([min_depth + (max_depth - min_depth) * share for share in shares(count, placement)])


class LogBins(Bins):
    """Bins at equal ratios over a range.

    Args:
        count: K, the number of bins, 2 to 10,000.
        min_depth: lower end of the range in metres, positive.
        max_depth: upper end of the range in metres.
        placement: `ends` puts the first and the last bin on the ends of the range, b_k = min (max / min)^(k / (K - 1));
            `centres` puts each bin in the geometric centre of one of K cells of equal ratio,
            b_k = min (max / min)^((k + 1/2) / K), as Auty and Mikolajczyk do (ICCV Workshops 2023).

    Raises:
        InputError: if the count or the range gives no bins.
    """

    def __init__(
        self, count: int = 7, min_depth: float = 1e-3, max_depth: float = 10.0, placement: Placement = "ends"
    ) -> None:
        check_range(count, min_depth, max_depth)
        super().__init__([min_depth * (max_depth / min_depth) ** share for share in shares(count, placement)])


def shares(count: int, placement: Placement) -> list[float]:
    """Return where bins lie in a range, as shares of it from 0 to 1.

    Raises:
        InputError: if the placement is unknown.
    """
    check_choice("placement", placement, ("ends", "centres"))
    return [(k + 0.5) / count if placement == "centres" else k / (count - 1) for k in range(count)]


def bins_of(values: Sequence[float] | str) -> tuple[float, ...]:
    """Return bins in metres, given as depths or by the name of their set.

    Raises:
        InputError: if the set is unknown, or the depths are not positive and ascending.
    """
    if isinstance(values, str):
        check_choice("bins", values, BINS, "or list the depths")
        return BINS[values]
    try:
        depths = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise InputError(f"bins {brief(values)} must be a list of depths in metres") from error
    if not 2 <= len(depths) <= MOST_BINS:
        raise InputError(f"bins {brief(list(depths))} must be at least two and at most {MOST_BINS} depths in metres")
    if not all(NEAREST <= depth <= FARTHEST for depth in depths):
        raise InputError(
            f"bins {brief(list(depths))} must be positive depths in metres, from {NEAREST:g} to {FARTHEST:g}"
        )
    # float32, as the head computes: depths that differ by less are one bin
    if any(near >= far for near, far in pairwise(torch.tensor(depths).tolist())):
        raise InputError(f"bins {brief(list(depths))} must ascend; sort them, and the words with them")
    return depths


def check_range(count: int, min_depth: float, max_depth: float) -> None:
    """Raise unless a number of bins and a range in metres give bins.

    Raises:
        InputError: naming the value.
    """
    check_count("count", count, at_least=2, at_most=MOST_BINS, unit="bins")
    check_number("min_depth", min_depth, at_least=NEAREST, at_most=FARTHEST, unit="metres", hint="it must be positive")
    check_number("max_depth", max_depth, above=min_depth, at_most=FARTHEST, unit="metres")
