"""The contract of figures beside the nine errors, which `test` computes for each image on request."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from depthclip.errors import InputError


class ScoredImage(NamedTuple):
    """The predictions of an image beside its ground truth, as they are scored.

    Args:
        prediction: (V, N) metres, positive: V predictions, aligned and clamped, at the N pixels that count.
        target: (N,) metres, positive: the ground truth.
        mask: (h, w) bool, the N pixels that count, in the part of the image that the model saw.
        focal: focal length in pixels of the mask; None if the data set does not state it.
        spread: (V, N) standard deviation of the predictions in metres, NaN for predictions without any; None unless a
            measure needs it.
        unaligned: (V, N) metres, the predictions before alignment and clamping; None if they equal `prediction`.
    """

    prediction: Tensor
    target: Tensor
    mask: Tensor
    focal: float | None = None
    spread: Tensor | None = None
    unaligned: Tensor | None = None

    def on_grid(self, values: Tensor) -> Tensor:
        """Return values at the pixels that count, (..., N), as maps (..., h, w), with 0 at all other pixels."""
        maps = values.new_zeros(*values.shape[:-1], *self.mask.shape)
        maps[..., self.mask] = values
        return maps


class Measure:
    """Figures beside the nine errors; a subclass sets `names` and defines `of`.

    The figures are computed for each image, and averaged over the images for which they are defined.

    Attributes:
        names: names of the M figures, the columns of the table.
        higher: names of the figures of which the larger is the better.
        needs_spread: whether `of` reads the standard deviation of the predictions.
    """

    names: tuple[str, ...] = ()
    higher: tuple[str, ...] = ()
    needs_spread = False

    def of(self, image: ScoredImage) -> Tensor:
        """Return the figures of V predictions of one image, (V, M); NaN where a figure is not defined."""
        raise NotImplementedError(f"{type(self).__name__} must implement of(image)")


class ErrorMeasure(Measure):
    """An error of the depths at the pixels that count; a subclass defines `name` and `__call__`.

    The error is computed for each image, and its figure is the mean over images. `higher_is_better` is true if the
    larger figure is the better.
    """

    name: str
    higher_is_better = False

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]  # derived from `name` here
        """The name of the error."""
        return (getattr(self, "name", None),)  # type: ignore[return-value]  # check_measures raises without a name

    @property
    def higher(self) -> tuple[str, ...]:  # type: ignore[override]  # derived from `higher_is_better` here
        """The name of the error if the larger figure is the better."""
        return self.names if self.higher_is_better else ()

    def of(self, image: ScoredImage) -> Tensor:
        """Return the error of each prediction of one image, (V, 1)."""
        errors = torch.as_tensor(self(image.prediction, image.target))
        return errors[:, None] if errors.ndim == 1 else errors

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the error of each prediction for one image, (V,).

        Args:
            prediction: (V, N) metres, positive: V predictions at the N pixels that count.
            target: (N,) metres, positive: the ground truth.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement __call__(prediction, target)")


def check_measures(measures: Sequence[Measure], taken: Sequence[str]) -> None:
    """Raise if a figure has no name, or the name of another.

    Args:
        measures: further figures.
        taken: names of the nine errors.

    Raises:
        InputError: if a name is missing, cannot be printed, or occurs twice.
    """
    seen = set(taken)
    for measure in measures:
        for name in measure.names:
            if not isinstance(name, str) or not name.strip() or not name.isprintable() or "/" in name:
                raise InputError(
                    f"errors: {type(measure).__name__} has the name {name!r}; set its attribute `name` to printable "
                    "text without a slash"
                )
            if name in seen:
                raise InputError(f"errors: the name {name!r} of {type(measure).__name__} is taken; choose another name")
            seen.add(name)


def measured(measures: Sequence[Measure], image: ScoredImage) -> Tensor:
    """Return the further figures of one image, (V, M) float64.

    Raises:
        InputError: if a measure returns another shape than (V, M).
    """
    columns = [torch.as_tensor(measure.of(image)) for measure in measures]
    rows = len(image.prediction)
    for measure, column in zip(measures, columns, strict=True):
        if tuple(column.shape) != (rows, len(measure.names)):
            raise InputError(
                f"errors: {', '.join(measure.names)!r} returned the shape {tuple(column.shape)}; it must return one "
                f"figure for each of the {rows} predictions"
            )
    return torch.cat([column.to(image.target.device, torch.float64) for column in columns], 1)
