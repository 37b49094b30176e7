"""The errors of depth estimation, per image and then the mean over images."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torchmetrics import Metric

from depthclip.evaluation.means import LIMITS, depth_means
from depthclip.evaluation.measures import Measure, ScoredImage, measured
from depthclip.protocol import Alignment

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
MOST_ROWS = 1024  # tensors that are kept before they are joined


def higher_is_better(error: str) -> bool:
    """Return whether the larger figure is the better: whether it is a share of good pixels."""
    return error.startswith("delta")


def depth_errors(prediction: Tensor, truth: Tensor, log_truth: Tensor | None = None) -> Tensor:
    """Return the errors of one image in the order of `ERRORS`, (V, 9) float64.

    With p the prediction, g the truth and d = ln p - ln g over the pixels that count: abs_rel = mean |p - g| / g;
    sq_rel = mean (p - g)^2 / g; rmse = sqrt mean (p - g)^2; rmse_log = sqrt mean d^2; log10 = mean |d| / ln 10; silog =
    100 sqrt(mean d^2 - (mean d)^2); delta_i = share of max(p/g, g/p) < 1.25^i.

    Args:
        prediction: (V, N) metres, positive: V predictions at the N pixels that count.
        truth: (N,) metres, positive.
        log_truth: (N,), the natural logarithm of the truth; computed if None.
    """
    log_truth = truth.log() if log_truth is None else log_truth
    return errors_of(depth_means(prediction, truth, log_truth))


def errors_of(means: Tensor) -> Tensor:
    """Return the errors, (..., 9) in the order of `ERRORS`, for the means over pixels of `depth_means`, (..., 9)."""
    abs_rel, sq_rel, square, log_square, log, log_mean, *shares = means.unbind(-1)
    silog = 100 * (log_square - log_mean.square()).clamp_min(0).sqrt()
    return torch.stack([abs_rel, sq_rel, square.sqrt(), log_square.sqrt(), log / math.log(10), silog, *shares], -1)


@dataclass(frozen=True)
class Result:
    """The errors of a test run.

    Args:
        names: names of the V rows that were scored.
        index: (N,) indices of the images in the data set, ascending.
        pixels: (N,) number of pixels that counted; 0 or `UNREADABLE` where the image is left out.
        errors: (N, V, 9 + M) in the order of `columns`, NaN for skipped images, and where a further figure is not
            defined for an image or a prediction.
        columns: names of the nine errors and of M further figures.
        higher: names of the further figures of which the larger is the better.
        alignment: alignment of `errors`, that of the protocol.
        aligned: (N, V, 9) errors in further alignments, by alignment.
    """

    names: tuple[str, ...]
    index: Tensor
    pixels: Tensor
    errors: Tensor
    columns: tuple[str, ...] = ERRORS
    higher: tuple[str, ...] = ()
    alignment: str = "none"
    aligned: dict[str, Tensor] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """The number of images that count."""
        return int((self.pixels > 0).sum())

    @property
    def skipped(self) -> int:
        """The number of images that have no pixel to score or could not be read."""
        return int((self.pixels <= 0).sum())

    def figures(self) -> dict[str, dict[str, float]]:
        """Return the mean over images, by name and error.

        A further figure is averaged over the images for which it is defined; a row has none if there are none.
        """
        errors = self.errors[self.pixels > 0]
        nine, further = errors[..., : len(ERRORS)].mean(0), errors[..., len(ERRORS) :].nanmean(0)
        rows = zip(self.names, torch.cat([nine, further], 1).tolist(), strict=True)
        figures = {name: dict(zip(self.columns, row, strict=True)) for name, row in rows}
        return {
            name: {error: value for error, value in row.items() if error in ERRORS or not math.isnan(value)}
            for name, row in figures.items()
        }

    def aligned_figures(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return the mean over images in further alignments, by alignment, name and error."""
        return {
            alignment: {
                name: dict(zip(ERRORS, row, strict=True))
                for name, row in zip(self.names, errors[self.pixels > 0].mean(0).tolist(), strict=True)
            }
            for alignment, errors in self.aligned.items()
        }


class DepthErrors(Metric):
    """The errors of every image, for several predictions at once.

    The state is one float64 row for each image, with its index in the data set, so that the result does not depend on
    the batch size, the number of devices or the order in which they finish.

    Args:
        names: names of the V predictions.
        measures: further figures beside the nine errors.
        alignments: A further alignments.
    """

    full_state_update = False

    def __init__(
        self, names: Sequence[str], measures: Sequence[Measure] = (), alignments: Sequence[Alignment] = ()
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.alignments = tuple(alignments)
        self.measures = tuple(measures)
        self.columns = (*ERRORS, *(name for measure in measures for name in measure.names))
        self.rows: list[Tensor]
        self.limits: Tensor
        self.register_buffer("limits", torch.tensor(LIMITS)[:, None], persistent=False)
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def score(self, image: ScoredImage, index: int, aligned: Iterable[Tensor | None] = ()) -> None:
        """Compute the errors of one image and add them.

        Args:
            image: V predictions and the ground truth, positive, at the N pixels that count; an image without any pixel
                is skipped and counted.
            index: index of the image in the data set.
            aligned: (V, N) metres for each further alignment, the predictions aligned and clamped; None for the
                alignment of the protocol.
        """
        if not len(image.target):
            self.update(index, 0, self._missing())
            return
        log_target = image.target.log()
        means = [depth_means(image.prediction, image.target, log_target)]
        if self.measures:
            means.append(measured(self.measures, image))
        for prediction in aligned:
            means.append(means[0] if prediction is None else depth_means(prediction, image.target, log_target))
        self.update(index, len(image.target), torch.cat(means, 1))

    def skip(self, index: int) -> None:
        """Add an image that could not be read."""
        self.update(index, UNREADABLE, self._missing())

    def _missing(self) -> Tensor:
        return torch.full((len(self.names), self._width), math.nan, dtype=torch.float64)

    @property
    def _width(self) -> int:
        return len(self.columns) + len(self.alignments) * len(ERRORS)

    def update(self, index: int, pixels: int | Tensor, means: Tensor) -> None:
        """Add one image of which the means over pixels are computed already.

        Args:
            index: index of the image in the data set.
            pixels: number of pixels that count, or (1,) as a tensor on the device.
            means: (V, 9 + M + 9 A) float64: the means of `depth_means`, further figures, and the means in A further
                alignments; ignored if no pixel counts.
        """
        means = means.to(self.device)
        # filled on the device: a copy of Python's numbers would wait for it
        count = pixels if isinstance(pixels, Tensor) else means.new_full((1,), pixels)
        self.rows.append(torch.cat([means.new_full((1,), index), count, means.flatten()])[None])
        if len(self.rows) == MOST_ROWS:  # a tensor of one image takes ten times the memory of its numbers
            self.rows = [torch.cat(self.rows)]

    def compute(self) -> Tensor:
        """Return the rows of all images on all devices, (N, 2 + V * (9 + M + 9 A)): index, pixels, errors; by index."""
        rows = self.rows if isinstance(self.rows, Tensor) else torch.cat(self.rows)
        rows = rows[rows[:, 0].argsort()].cpu()
        means = rows[:, 2:].unflatten(1, (len(self.names), self._width))
        first, further, aligned = means.tensor_split((len(ERRORS), len(self.columns)), -1)
        aligned = errors_of(aligned.unflatten(-1, (len(self.alignments), len(ERRORS)))).flatten(-2)
        errors = torch.cat([errors_of(first), further, aligned], -1).flatten(1)
        return torch.cat([rows[:, :2], errors.masked_fill(rows[:, 1:2] <= 0, math.nan)], 1)

    def result(self, alignment: Alignment = "none") -> Result:
        """Return the errors of all images on all devices; every device must call it.

        Args:
            alignment: alignment of the protocol.
        """
        rows = self.compute()
        errors = rows[:, 2:].unflatten(1, (len(self.names), self._width))
        first, *others = errors.split([len(self.columns), *[len(ERRORS)] * len(self.alignments)], 2)
        aligned: dict[str, Tensor] = {
            name: each for name, each in zip(self.alignments, others, strict=True) if name != alignment
        }
        higher = tuple(name for measure in self.measures for name in measure.higher)
        index, pixels = rows[:, 0].long(), rows[:, 1].long()
        return Result(self.names, index, pixels, first, self.columns, higher, alignment, aligned)
