"""Scoring: the pixels of a ground truth that count, and the predictions that are compared with them."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from depthclip.checks import LARGEST_DEPTH, check_choice, check_crop, check_number, check_pair
from depthclip.protocol.alignment import ALIGNMENTS, Alignment, align_depth
from depthclip.protocol.box import Box, Crop, resolve_crop

LOWEST = 1e-6  # metres, far below any depth in a scene; a prediction of 0 has no logarithm


class Aligned(NamedTuple):
    """Predictions of an image beside its ground truth, on the pixels of the ground truth that the model saw.

    Args:
        prediction: (V, h, w) metres, V predictions.
        target: (h, w) metres, 0 = invalid.
        mask: (h, w) bool, the pixels that count.
    """

    prediction: Tensor
    target: Tensor
    mask: Tensor

    def pixels(self) -> tuple[Tensor, Tensor]:
        """Return the N pixels that count: predictions (V, N) and target (N,), in metres."""
        return self.prediction[:, self.mask], self.target[self.mask]


@dataclass(frozen=True)
class Scoring:
    """Selection of the pixels that count, and the limits of the predictions.

    A pixel counts if min_depth < target < max_depth, strictly, it lies in the crop, and the model saw it.

    KITTI has two conventions for the crop. AdaBins, ZoeDepth, Marigold and DepthCLIP, and BTS during training, crop the
    ground truth to the 352 x 1216 that the model saw and apply the fractions to that part, `crop_of: seen`. BTS's
    offline evaluation pastes the prediction into the full image and applies the fractions to it, `crop_of: truth`.

    Args:
        min_depth: exclusive lower bound of the target, in metres.
        max_depth: exclusive upper bound of the target, the cap, in metres; null for none.
        crop: (top, left, bottom, right) in pixels; `garg` or `eigen` for KITTI's, as fractions; a `Crop` by
            class_path; null for all.
        crop_of: map to which the crop is applied: the whole ground `truth`, or the part of it that was `seen`.
        clamp: (lowest, highest) depth in metres to which predictions are clamped; null for min_depth (1e-6 if it is
            0) and max_depth.
        resample: interpolation of predictions to the size of the target: `bilinear` or `nearest`.
        alignment: fit of each prediction to the target of its image, before clamping: `none` for metric depth; `median`
            or `scale` for a factor; `affine` for a factor and a shift of the depth; `log_affine` for the same of its
            logarithm; `disparity_affine` for the same of its inverse. See `align_depth` for the equations.

    Raises:
        InputError: if a range is not ascending, or the crop is empty.
    """

    min_depth: float = 1e-3
    max_depth: float | None = 10.0
    crop: tuple[int, int, int, int] | Literal["garg", "eigen"] | Crop | None = None
    crop_of: Literal["truth", "seen"] = "truth"
    clamp: tuple[float, float] | None = None
    resample: Literal["bilinear", "nearest"] = "bilinear"
    alignment: Alignment = "none"

    def __post_init__(self) -> None:
        check_number("scoring.min_depth", self.min_depth, at_least=0, at_most=LARGEST_DEPTH, unit="metres")
        if self.max_depth is not None:
            check_number(
                "scoring.max_depth",
                self.max_depth,
                above=self.min_depth,
                at_most=LARGEST_DEPTH,
                unit="metres",
                hint="use null for no cap",
            )
        if self.clamp is not None:
            check_pair("scoring.clamp", self.clamp, "[lowest, highest] in metres; use null for the range of the truth")
            name = f"scoring.clamp {self.clamp!r}:"
            check_number(f"{name} lowest", self.clamp[0], above=0, at_most=LARGEST_DEPTH, unit="metres")
            check_number(f"{name} highest", self.clamp[1], above=self.clamp[0], at_most=LARGEST_DEPTH, unit="metres")
        if not isinstance(self.crop, Crop):
            check_crop("scoring.crop", self.crop, ("garg", "eigen"))
        check_choice("scoring.crop_of", self.crop_of, ("truth", "seen"))
        check_choice("scoring.resample", self.resample, ("bilinear", "nearest"))
        check_choice("scoring.alignment", self.alignment, ALIGNMENTS)

    @property
    def cap(self) -> float:
        """The exclusive upper bound of the target in metres, infinite if there is no cap."""
        return math.inf if self.max_depth is None else self.max_depth

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest prediction in metres, which is positive, and the highest, which is infinite without a limit."""
        return (self.min_depth or LOWEST, self.cap) if self.clamp is None else self.clamp

    def farthest(self, target: Tensor) -> float | Tensor:
        """Return the highest prediction in metres, or the farthest target, (), if predictions have no upper limit."""
        highest = self.limits[1]
        return highest if math.isfinite(highest) else target.max()

    def box(self, height: int, width: int) -> Box:
        """Return the box of the crop in a depth map of the given size.

        Raises:
            InputError: if the crop does not fit the map.
        """
        return resolve_crop(self.crop, height, width, "scoring.crop", "a depth map")

    def inside(self, target: Tensor, seen: Box) -> Tensor | None:
        """Return the mask (h, w) of the crop, in the box of a target (H, W) that the model saw; None for all of it."""
        area = seen if self.crop_of == "seen" else Box(0, 0, target.shape[0], target.shape[1])
        crop = self.box(*area.size).inside(area)
        if crop.common(seen) == seen:
            return None
        mask = torch.zeros_like(target, dtype=torch.bool)
        crop.cut(mask).fill_(True)
        return seen.cut(mask)

    def counts(self, depth: Tensor) -> Tensor:
        """Return which depths in metres lie between min_depth and max_depth, of the same shape."""
        return (depth > self.min_depth) & (depth < self.cap)

    def mask(self, target: Tensor, seen: Box) -> Tensor:
        """Return the mask (h, w) of the pixels that count, in the box of a target (H, W) that the model saw."""
        counts, inside = self.counts(seen.cut(target)), self.inside(target, seen)
        return counts if inside is None else counts & inside

    def resampled(self, prediction: Tensor, seen: Box) -> Tensor:
        """Resize predictions (V, h', w') to the size (h, w) of the box of the target that the model saw."""
        if tuple(prediction.shape[-2:]) == seen.size:
            return prediction
        corners = False if self.resample == "bilinear" else None
        return F.interpolate(prediction[None], seen.size, mode=self.resample, align_corners=corners)[0]

    def align(self, prediction: Tensor, target: Tensor, seen: Box) -> Aligned:
        """Bring predictions to the pixels of their ground truth, and select the pixels that count.

        Args:
            prediction: (V, h', w') metres, V predictions of the part of the image that the model saw.
            target: (H, W) metres, the whole ground truth, 0 = invalid.
            seen: box of the target that the model saw, of size (h, w).
        """
        return Aligned(self.resampled(prediction, seen), seen.cut(target), self.mask(target, seen))

    def limit(self, prediction: Tensor, target: Tensor, alignment: Alignment | None = None) -> Tensor:
        """Align predictions with the target, then clamp them.

        Predictions under `disparity_affine` are clamped to the farthest target if they have no upper limit.

        Args:
            prediction: (V, N) metres, predictions of the pixels that count.
            target: (N,) metres.
            alignment: another alignment than that of the protocol; None for that of the protocol.

        Returns:
            (V, N) metres.
        """
        alignment = alignment or self.alignment
        lowest, highest = self.limits
        if alignment == "disparity_affine" and len(target):
            highest = float(self.farthest(target))
        return align_depth(prediction, target, alignment).clamp(lowest, highest)

    def select(self, prediction: Tensor, target: Tensor, seen: Box) -> tuple[Tensor, Tensor]:
        """Return the pixels that count: predictions (V, N), aligned and clamped, and target (N,); see `align`."""
        pixels, values = self.align(prediction, target, seen).pixels()
        return self.limit(pixels, values), values
