"""View (what the model sees) and Scoring (which pixels count), and the presets of the field."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from depthclip.checks import (
    LARGEST_DEPTH,
    LARGEST_SIDE,
    check_choice,
    check_count,
    check_crop,
    check_number,
    check_pair,
)
from depthclip.errors import InputError

# (top, left, bottom, right) as fractions of the cropped map's height and width
FRACTIONS = {
    "garg": (0.40810811, 0.03594771, 0.99189189, 0.96405229),
    "eigen": (0.3324324, 0.0359477, 0.91351351, 0.96405229),
}


class Box(NamedTuple):
    """Rows top:bottom and columns left:right of an image or a map."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left

    def within(self, height: int, width: int) -> bool:
        """Return whether the box is not empty and lies inside a map of that size."""
        return 0 <= self.top < self.bottom <= height and 0 <= self.left < self.right <= width

    def inside(self, area: "Box") -> "Box":
        """Return the box, given in pixels of an area of a map, in pixels of the map."""
        return Box(self.top + area.top, self.left + area.left, self.bottom + area.top, self.right + area.left)

    def cut(self, x: Tensor) -> Tensor:
        """Return the part of (..., H, W) inside the box."""
        return x[..., self.top : self.bottom, self.left : self.right]


class Crop:
    """A rule for the part of an image or a depth map that counts, for crops that are neither a box nor a preset.

    Subclass this and write `box`; a recipe names the class by `class_path`.
    """

    def box(self, height: int, width: int) -> Box:
        """Return the part that counts of an image or a map of that size, in pixels."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({vars(self)})"  # part of the key of cached features


@dataclass(frozen=True)
class View:
    """What the model sees of an image, and how its coarse map becomes depth for the pixels it saw.

    Args:
        crop: (top, left, bottom, right) in pixels; `kb` for KITTI's 352 x 1216 at the bottom centre; `2:1` for the
            centre of a portrait image, twice as wide as high; a `Crop` by class_path; null for the whole image.
        size: (height, width) in pixels to which the crop is resized, bilinear and antialiased; null keeps its size.
        max_side: where no size is given, crops whose longer side exceeds this are reduced to it, in pixels.
        mirror: whether the depth of the mirrored image, mirrored back, is averaged in.
        align_corners: how the coarse map is upsampled (bilinear): true puts the outer patches' centres on the corners.

    Raises:
        InputError: if the crop is empty, or a size is not a whole number of pixels from 1 to 16384.
    """

    crop: tuple[int, int, int, int] | Literal["kb", "2:1"] | Crop | None = None
    size: tuple[int, int] | None = None
    max_side: int | None = None
    mirror: bool = False
    align_corners: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.crop, Crop):
            check_crop("view.crop", self.crop, ("kb", "2:1"))
        if self.size is not None:
            check_pair("view.size", self.size, "[height, width] in pixels; use null to keep the size")
            for side in self.size:
                check_count(f"view.size {self.size!r}: side", side, at_most=LARGEST_SIDE, unit="pixels")
        if self.max_side is not None:
            hint = "use null for no limit"
            check_count("view.max_side", self.max_side, at_most=LARGEST_SIDE, unit="pixels", hint=hint)

    def box(self, height: int, width: int) -> Box:
        """Return where the crop lies in an image of that size.

        Raises:
            InputError: if it does not fit the image.
        """
        if self.crop is None:
            box = Box(0, 0, height, width)
        elif self.crop == "kb":
            top, left = height - 352, (width - 1216) // 2
            box = Box(top, left, top + 352, left + 1216)
        elif self.crop == "2:1":
            top = (height - width // 2) // 2
            box = Box(top, 0, top + width // 2, width)
        elif isinstance(self.crop, Crop):
            box = self.crop.box(height, width)
        else:
            box = Box(*self.crop)
        if not box.within(height, width):
            raise InputError(
                f"view.crop {self.crop} does not fit an image of {height} x {width}; set it for these images"
            )
        return box

    def see(self, image: Tensor) -> Tensor:
        """Cut and resize an image (3, H, W) to what the model sees."""
        seen = self.box(image.shape[-2], image.shape[-1]).cut(image)
        height, width = seen.shape[-2:]
        if self.size is not None:
            return TF.resize(seen, list(self.size), antialias=True)
        if self.max_side is not None and max(height, width) > self.max_side:
            shrink = self.max_side / max(height, width)
            return TF.resize(seen, [max(1, round(height * shrink)), max(1, round(width * shrink))], antialias=True)
        return seen

    def upsample(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize coarse depth (B, V, h, w) to the size of what the model saw."""
        return F.interpolate(coarse, size, mode="bilinear", align_corners=self.align_corners)


@dataclass(frozen=True)
class Scoring:
    """Which pixels count, and what is done to the prediction before it is compared.

    A pixel counts if min_depth < truth < max_depth, strictly, it lies in the crop, and the model saw it.

    KITTI has two conventions for the crop. The evaluations of AdaBins, ZoeDepth, Marigold and DepthCLIP, and BTS during
    training, crop the truth to what the model saw (352 x 1216) and take the fractions of that, `crop_of: seen`. BTS's
    offline evaluation pastes the prediction back into the full image and takes them of that, `crop_of: truth`.

    Args:
        min_depth: exclusive lower bound of the truth, in metres.
        max_depth: exclusive upper bound of the truth, the cap, in metres; null for none.
        crop: (top, left, bottom, right) in pixels; `garg` or `eigen` for KITTI's, as fractions; a `Crop` by
            class_path; null for all.
        crop_of: what the crop is measured in: the whole `truth`, or the part of the truth that was `seen`.
        clamp: (lowest, highest) depth in metres to which predictions are clamped; null for min_depth and max_depth.
        resample: how a prediction is brought to the truth's size where they differ: `bilinear` or `nearest`.
        median_scaling: whether each prediction is scaled by median(truth) / median(prediction), for methods without
            scale.

    Raises:
        InputError: if a range is not ascending, or the crop is empty.
    """

    min_depth: float = 1e-3
    max_depth: float | None = 10.0
    crop: tuple[int, int, int, int] | Literal["garg", "eigen"] | Crop | None = None
    crop_of: Literal["truth", "seen"] = "truth"
    clamp: tuple[float, float] | None = None
    resample: Literal["bilinear", "nearest"] = "bilinear"
    median_scaling: bool = False

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
            check_crop("scoring.crop", self.crop, FRACTIONS)
        check_choice("scoring.crop_of", self.crop_of, ("truth", "seen"))
        check_choice("scoring.resample", self.resample, ("bilinear", "nearest"))

    @property
    def cap(self) -> float:
        """The exclusive upper bound of the truth in metres, infinite where there is none."""
        return math.inf if self.max_depth is None else self.max_depth

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest prediction in metres; the highest is infinite where nothing limits it."""
        return (self.min_depth, self.cap) if self.clamp is None else self.clamp

    def farthest(self, truth: Tensor) -> float:
        """Return the highest prediction in metres, or the farthest truth where nothing limits it."""
        highest = self.limits[1]
        return highest if math.isfinite(highest) else float(truth.max())

    def box(self, height: int, width: int) -> Box:
        """Return where the crop lies in a map of that size.

        Raises:
            InputError: if it does not fit the map.
        """
        if self.crop is None:
            box = Box(0, 0, height, width)
        elif isinstance(self.crop, str):
            top, left, bottom, right = FRACTIONS[self.crop]
            box = Box(int(top * height), int(left * width), int(bottom * height), int(right * width))
        elif isinstance(self.crop, Crop):
            box = self.crop.box(height, width)
        else:
            box = Box(*self.crop)
        if not box.within(height, width):
            raise InputError(
                f"scoring.crop {self.crop} does not fit a depth map of {height} x {width}; set it for these maps"
            )
        return box

    def mask(self, truth: Tensor, seen: Box) -> Tensor:
        """Return which pixels of a truth (H, W) count, of the box that the model saw, (h, w) bool."""
        area = seen if self.crop_of == "seen" else Box(0, 0, truth.shape[0], truth.shape[1])
        inside = torch.zeros_like(truth, dtype=torch.bool)
        self.box(*area.size).inside(area).cut(inside).fill_(True)
        return seen.cut(inside & (truth > self.min_depth) & (truth < self.cap))

    def resampled(self, depth: Tensor, seen: Box) -> Tensor:
        """Resize depth (V, h, w) of what the model saw to the size that this box has in the truth."""
        if tuple(depth.shape[-2:]) == seen.size:
            return depth
        corners = False if self.resample == "bilinear" else None
        return F.interpolate(depth[None], seen.size, mode=self.resample, align_corners=corners)[0]

    def select(self, depth: Tensor, truth: Tensor, seen: Box) -> tuple[Tensor, Tensor]:
        """Return the pixels that count: predictions (V, N), scaled and clamped as the protocol says, and truth (N,).

        Args:
            depth: (V, h, w) metres, V predictions of what the model saw.
            truth: (H, W) metres, all of it, 0 = invalid.
            seen: where in the truth the model looked.
        """
        mask = self.mask(truth, seen)
        prediction, true = self.resampled(depth, seen)[:, mask], seen.cut(truth)[mask]
        if self.median_scaling and len(true):
            prediction = prediction * (median(true, 0) / median(prediction, 1)[:, None])
        return prediction.clamp(*self.limits), true


def median(values: Tensor, dim: int) -> Tensor:
    """Return the median along a dimension without NaN; of an even number it is the mean of the middle two, as NumPy's.

    torch.nanmedian returns the lower of the middle two; negated values give the upper one.
    """
    return (values.nanmedian(dim).values - (-values).nanmedian(dim).values) / 2


def seen_in_truth(box: Box, image: tuple[int, int], truth: tuple[int, int]) -> Box:
    """Return a box of the image in pixels of a truth that shows the same scene at another size (rounded)."""
    down, across = truth[0] / image[0], truth[1] / image[1]
    return Box(round(box.top * down), round(box.left * across), round(box.bottom * down), round(box.right * across))


# DepthCLIP's released evaluation on NYU: 46, not 41, and only what the model saw
VIEWS: dict[str, View] = {
    "depthclip_nyu": View(crop=(56, 60, 472, 604), mirror=True, align_corners=True),
    "eigen_nyu": View(mirror=True),
    "whole": View(),
    "kitti": View(crop="kb", mirror=True),
    "make3d": View(crop="2:1", size=(256, 512), mirror=True),
}
SCORINGS: dict[str, Scoring] = {
    "depthclip_nyu": Scoring(max_depth=10.0, crop=(45, 46, 471, 601)),
    "eigen_nyu": Scoring(max_depth=10.0, crop=(45, 41, 471, 601)),
    "whole": Scoring(),
    "garg_kitti": Scoring(max_depth=80.0, crop="garg"),
    "garg_kitti_seen": Scoring(max_depth=80.0, crop="garg", crop_of="seen"),
    "eigen_kitti": Scoring(max_depth=80.0, crop="eigen"),
    "eigen_kitti_seen": Scoring(max_depth=80.0, crop="eigen", crop_of="seen"),
    # Monodepth2's evaluation of the 652 annotated images: all truth, but predictions up to 80 m
    "monodepth2_652": Scoring(min_depth=0.0, max_depth=None, clamp=(1e-3, 80.0), median_scaling=True),
    "make3d_c1": Scoring(max_depth=70.0, resample="nearest"),
    "make3d_c2": Scoring(max_depth=80.0, resample="nearest"),
}


def view_of(view: View | str) -> View:
    """Return a View by the name of its preset, or the given one.

    Raises:
        InputError: if there is no preset of that name.
    """
    if isinstance(view, View):
        return view
    if not isinstance(view, str) or view not in VIEWS:
        raise InputError(f"view {view!r} is no preset; choose one of {', '.join(VIEWS)}, or spell it out")
    return VIEWS[view]


def scoring_of(scoring: Scoring | str) -> Scoring:
    """Return a Scoring by the name of its preset, or the given one.

    Raises:
        InputError: if there is no preset of that name.
    """
    if isinstance(scoring, Scoring):
        return scoring
    if not isinstance(scoring, str) or scoring not in SCORINGS:
        raise InputError(f"scoring {scoring!r} is no preset; choose one of {', '.join(SCORINGS)}, or spell it out")
    return SCORINGS[scoring]
