"""Fixed bins: the depths in metres for which the distance words stand. `Bins` is also the base class of all bins."""

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
MOST_BINS = 10_000  # and words


class Bins(nn.Module):
    """Fixed bins, one depth for each distance word; base class of all bins.

    Bins that are learned, fitted or predicted subclass this class. They override `forward`, and `prepare` if they
    depend on the text tower; `needs_depths`, `update` and `compute` if they depend on training depths.

    Args:
        values: K depths in metres, positive and ascending, or the name of one of the paper's sets: `depthclip`, `cd1`,
            `cd2`, `cd3`, `cd4`.

    Raises:
        InputError: if the set is unknown, or the depths are not positive and ascending.

    Attributes:
        needs_pooled: whether `forward` reads the image's pooled feature; a class attribute.
        values: (K,), the depths in metres.
    """

    needs_pooled: bool = False
    prepared = False  # set by `prepare_once`
    values: Tensor

    def __init__(self, values: Sequence[float] | str = "depthclip") -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(bins_of(values)), persistent=False)

    @property
    def count(self) -> int:
        """The number of bins, K."""
        return len(self.values)

    @property
    def needs_depths(self) -> bool:
        """Whether the bins must be fitted to training depths before `forward` can run."""
        return False

    def prepare(self, text: TextEncoder) -> None:
        """Create what depends on the text tower; the head calls this method once."""

    def update(self, depth: Tensor, scene: str) -> None:
        """Add the depth map of one training image to the statistics of the bins.

        Args:
            depth: (H, W) in metres, 0 = invalid.
            scene: the scene of the image as the data set names it; "" if it has no name.
        """

    def compute(self) -> None:
        """Fit the bins to the statistics that `update` gathered."""

    def fit(self, depths: Iterable[tuple[Tensor, str]]) -> None:
        """Fit the bins to the depth maps and scenes of a training set, see `update`."""
        for depth, scene in depths:
            self.update(depth, scene)
        self.compute()

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Return the depths in metres, (K,), or (B, K) if they depend on the pooled features.

        Args:
            text: the text tower.
            pooled: (B, D), the pooled features of the images; None unless `needs_pooled`.
        """
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
    """Return the positions of bins in a range, from 0 at its lower end to 1 at its upper end.

    Raises:
        InputError: if the placement is unknown.
    """
    check_choice("placement", placement, ("ends", "centres"))
    return [(k + 0.5) / count if placement == "centres" else k / (count - 1) for k in range(count)]


def bins_of(values: Sequence[float] | str) -> tuple[float, ...]:
    """Return bins in metres from a list of depths or the name of a set.

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
    # compared in float32, the precision of the head
    if any(near >= far for near, far in pairwise(torch.tensor(depths).tolist())):
        raise InputError(f"bins {brief(list(depths))} must ascend; sort them, and the words with them")
    return depths


def check_range(count: int, min_depth: float, max_depth: float) -> None:
    """Raise unless a number of bins and a range in metres are valid.

    Raises:
        InputError: if a value is out of its range.
    """
    check_count("count", count, at_least=2, at_most=MOST_BINS, unit="bins")
    check_number("min_depth", min_depth, at_least=NEAREST, at_most=FARTHEST, unit="metres", hint="it must be positive")
    check_number("max_depth", max_depth, above=min_depth, at_most=FARTHEST, unit="metres")


def check_fitted(bins: Bins) -> None:
    """Raise if bins are not fitted to training depths yet.

    Raises:
        InputError: if the bins need training depths.
    """
    if bins.needs_depths:
        raise InputError("the bins are not fitted yet; run fit with training data, or load a checkpoint of fitted bins")
