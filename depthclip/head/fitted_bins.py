"""Bins that are fitted to the distribution of the training depths."""

from typing import Literal

import torch
from torch import Tensor

from depthclip.checks import check_choice
from depthclip.encoder.interfaces import TextEncoder
from depthclip.errors import InputError
from depthclip.head.bins import Bins, LinearBins, check_fitted


class FittedBins(Bins):
    """Bins that are fitted to the depths of the training set; checkpoints contain them.

    A histogram of 10,000 equal steps over the range (1 mm for 10 m) represents the depths.

    Args:
        count: K, the number of bins, 2 to 10,000.
        how: `quantiles` for the quantiles at (k + 1/2) / K, so that each bin stands for the same number of pixels;
            `kmeans` for the centres of k-means, which minimize the mean squared distance to the nearest bin; `log` for
            equal ratios from the 1st to the 99th percentile.
        min_depth: lower end of the range in metres, positive; nearer depths are ignored.
        max_depth: upper end of the range in metres; farther depths are ignored.

    Raises:
        InputError: if the count or the range gives no bins, or (from `forward`) the bins are not fitted yet.
    """

    fitted: Tensor  # () bool
    steps = 10_000

    def __init__(
        self,
        count: int = 7,
        how: Literal["quantiles", "kmeans", "log"] = "quantiles",
        min_depth: float = 1e-3,
        max_depth: float = 10.0,
    ) -> None:
        check_choice("how", how, ("quantiles", "kmeans", "log"))
        # placeholders that set the number of bins; `forward` refuses to return them
        super().__init__(LinearBins(count, min_depth, max_depth).values.tolist())
        self.how = how
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.histogram = torch.zeros(self.steps, dtype=torch.float64)
        self.register_buffer("values", self.values, persistent=True)
        self.register_buffer("fitted", torch.tensor(False), persistent=True)

    @property
    def needs_depths(self) -> bool:
        """Whether the bins must still be fitted to training depths."""
        return not bool(self.fitted)

    def update(self, depth: Tensor, scene: str) -> None:
        """Add the depth map of one training image to the histogram; its scene is ignored."""
        self.histogram += torch.histc(depth.detach().float().cpu(), self.steps, self.min_depth, self.max_depth)

    def compute(self) -> None:
        """Compute the bins from the histogram.

        Raises:
            InputError: if the histogram has fewer than K different depths.
        """
        if (self.histogram > 0).sum() < self.count:
            raise InputError(
                f"the training depths have fewer than {self.count} different values between {self.min_depth} and "
                f"{self.max_depth} m; check min_depth and max_depth of the bins, and the data"
            )
        step = (self.max_depth - self.min_depth) / self.steps
        depths = self.min_depth + step * (torch.arange(self.steps, dtype=torch.float64) + 0.5)
        if self.how == "quantiles":
            fitted = quantiles(depths, self.histogram, (torch.arange(self.count) + 0.5) / self.count)
        elif self.how == "log":
            near, far = quantiles(depths, self.histogram, torch.tensor([0.01, 0.99])).log()
            fitted = torch.linspace(float(near), float(far), self.count).exp()
        else:
            fitted = kmeans(depths, self.histogram, self.count)
        self.values.copy_(separate(fitted, step))
        self.histogram.zero_()
        self.fitted.fill_(True)

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Return the fitted depths in metres, (K,)."""
        check_fitted(self)
        return self.values


def quantiles(values: Tensor, counts: Tensor, shares: Tensor) -> Tensor:
    """Return the quantiles of a histogram.

    Args:
        values: (N,), the centres of the steps, ascending.
        counts: (N,), the number of occurrences of each value.
        shares: (Q,), the shares of all occurrences that lie below the quantiles, 0 to 1.
    """
    return values[torch.searchsorted(counts.cumsum(0), shares.double() * counts.sum())]


def kmeans(values: Tensor, counts: Tensor, clusters: int) -> Tensor:
    """Return the ascending centres of k-means over a histogram, (clusters,).

    Args:
        values: (N,), the centres of the steps.
        counts: (N,), the number of occurrences of each value.
        clusters: number of centres.
    """
    from sklearn.cluster import KMeans  # slow to import, and used only here

    occurring = counts > 0
    model = KMeans(clusters, n_init=4, random_state=0)
    model.fit(values[occurring, None].numpy(), sample_weight=counts[occurring].numpy())
    return torch.from_numpy(model.cluster_centers_[:, 0]).sort().values


def separate(bins: Tensor, step: float) -> Tensor:
    """Return ascending bins, moved up where necessary to be at least a step apart."""
    steps = step * torch.arange(len(bins), dtype=bins.dtype)
    return (bins - steps).cummax(0).values + steps
