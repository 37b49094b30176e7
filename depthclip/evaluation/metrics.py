"""The errors of depth estimation, per image and then the mean over images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

ERRORS = (
    "abs_rel",
    "sq_rel",
    "rmse",
    "rmse_log",
    "log10",
    "silog",
    "delta1",
    "delta2",
    "delta3",
)
UNREADABLE = -1


def higher_is_better(error: str) -> bool:
    """Whether a figure is a share of good pixels and not an error."""
    return error.startswith("delta")


def depth_errors(prediction: Tensor, truth: Tensor) -> Tensor:
    """The errors of one image in the order of `ERRORS`, (V, 9) float64.

    With p the prediction, g the truth and d = ln p - ln g over the pixels that count: abs_rel = mean |p - g| / g;
    sq_rel = mean (p - g)^2 / g; rmse = sqrt mean (p - g)^2; rmse_log = sqrt mean d^2; log10 = mean |d| / ln 10; silog =
    100 sqrt(mean d^2 - (mean d)^2); delta_i = share of max(p/g, g/p) < 1.25^i.

    Args:
        prediction: (V, N) metres, positive: V predictions at the N pixels that count.
        truth: (N,) metres, positive.
    """
    log_truth = truth.log()
    # one prediction at a time stays in the cache, which is several times faster than all at once
    return torch.stack([_errors(p, truth, log_truth) for p in prediction])


def _errors(p: Tensor, g: Tensor, log_g: Tensor) -> Tensor:
    difference = p - g
    relative = difference / g
    d = p.log() - log_g
    ratio = torch.maximum(p / g, g / p)
    # float32 sums are accurate to 1e-7 here; only the variance of d, a small difference, needs more
    mean_d, mean_square = d.mean(dtype=torch.float64), d.square().mean(dtype=torch.float64)
    return torch.stack(
        [
            relative.abs().mean().double(),
            (relative * difference).mean().double(),
            difference.square().mean().double().sqrt(),
            mean_square.sqrt(),
            d.abs().mean().double() / math.log(10),
            100 * (mean_square - mean_d.square()).clamp_min(0).sqrt(),
            *((ratio < 1.25**power).count_nonzero().double() / len(g) for power in (1, 2, 3)),
        ]
    )


@dataclass(frozen=True)
class Result:
    """The errors of a test run.

    Args:
        names: the V things that were scored.
        index: (N,) the images, in the order of the data set.
        pixels: (N,) how many pixels of each counted; 0 or `UNREADABLE` where the image is left out.
        errors: (N, V, 9) in the order of `ERRORS`, NaN for skipped images.
    """

    names: tuple[str, ...]
    index: Tensor
    pixels: Tensor
    errors: Tensor

    @property
    def images(self) -> int:
        """How many images count."""
        return int((self.pixels > 0).sum())

    @property
    def skipped(self) -> int:
        """How many images had no pixel to score, or could not be read."""
        return int((self.pixels <= 0).sum())

    @property
    def unreadable(self) -> list[int]:
        """The images that could not be read."""
        return self.index[self.pixels == UNREADABLE].tolist()

    def figures(self) -> dict[str, dict[str, float]]:
        """The mean over images, by name and error."""
        means = self.errors[self.pixels > 0].mean(0)
        return {name: dict(zip(ERRORS, row.tolist(), strict=True)) for name, row in zip(self.names, means, strict=True)}


class DepthErrors(Metric):
    """Collects the errors of every image, for several predictions at once.

    The state is one float64 row an image with its place in the data set, so that the result does not depend on the
    batch size, the number of devices or the order in which they finish.

    Args:
        names: what the V predictions are called.
    """

    full_state_update = False

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.rows: list[Tensor]
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, truth: Tensor, index: int) -> None:
        """Adds one image.

        Args:
            prediction: (V, N) metres, positive, at the N pixels that count.
            truth: (N,) metres, positive; an image without any pixel is skipped and counted.
            index: the image's place in the data set.
        """
        missing = torch.full((len(self.names), len(ERRORS)), math.nan, dtype=torch.float64, device=truth.device)
        self._add(index, len(truth), depth_errors(prediction, truth) if len(truth) else missing)

    def skip(self, index: int) -> None:
        """Notes an image that could not be read."""
        self._add(index, UNREADABLE, torch.full((len(self.names), len(ERRORS)), math.nan, dtype=torch.float64))

    def _add(self, index: int, pixels: int, errors: Tensor) -> None:
        head = torch.tensor([index, pixels], dtype=torch.float64)
        self.rows.append(torch.cat([head.to(self.device), errors.flatten().to(self.device)])[None])

    def compute(self) -> Tensor:
        """The rows of all images on all devices, (n, 2 + V * 9): place, pixels and errors, sorted by place."""
        rows = self.rows if isinstance(self.rows, Tensor) else torch.cat(self.rows)
        return rows[rows[:, 0].argsort()].cpu()

    def result(self) -> Result:
        """The errors of all images on all devices; every device must ask."""
        rows = self.compute()
        errors = rows[:, 2:].unflatten(1, (len(self.names), len(ERRORS)))
        return Result(self.names, rows[:, 0].long(), rows[:, 1].long(), errors)
