"""View (what the model sees) and Scoring (which pixels count), and the presets of the field."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF


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
        """Whether the box is not empty and lies inside a map of that size."""
        return 0 <= self.top < self.bottom <= height and 0 <= self.left < self.right <= width

    def cut(self, x: Tensor) -> Tensor:
        """The part of (..., H, W) inside the box."""
        return x[..., self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class View:
    """What the model sees of an image, and how its coarse map becomes depth for the pixels it saw.

    Args:
        crop: (top, left, bottom, right) in pixels; `kb` for KITTI's 352 x 1216 at the bottom centre; `2:1` for the
            centre of a portrait image, twice as wide as high; null for the whole image.
        size: (height, width) to which the crop is resized, bilinear and antialiased; null keeps its size.
        max_side: where no size is given, crops whose longer side exceeds this are reduced to it, in pixels.
        mirror: whether the depth of the mirrored image, mirrored back, is averaged in.
        align_corners: how the coarse map is upsampled (bilinear): true puts the outer patches' centres on the corners.
    """

    crop: tuple[int, int, int, int] | Literal["kb", "2:1"] | None = None
    size: tuple[int, int] | None = None
    max_side: int | None = None
    mirror: bool = False
    align_corners: bool = False

    def box(self, height: int, width: int) -> Box:
        """Where the crop lies in an image of that size.

        Raises:
            ValueError: if it does not.
        """
        if self.crop is None:
            box = Box(0, 0, height, width)
        elif self.crop == "kb":
            top, left = height - 352, (width - 1216) // 2
            box = Box(top, left, top + 352, left + 1216)
        elif self.crop == "2:1":
            top = (height - width // 2) // 2
            box = Box(top, 0, top + width // 2, width)
        else:
            box = Box(*self.crop)
        if not box.within(height, width):
            raise ValueError(
                f"view.crop {self.crop} does not fit an image of {height} x {width}; set it for these images"
            )
        return box

    def see(self, image: Tensor) -> Tensor:
        """Cuts and resizes an image (3, H, W) to what the model sees."""
        seen = self.box(image.shape[-2], image.shape[-1]).cut(image)
        height, width = seen.shape[-2:]
        if self.size is not None:
            return TF.resize(seen, list(self.size), antialias=True)
        if self.max_side is not None and max(height, width) > self.max_side:
            shrink = self.max_side / max(height, width)
            return TF.resize(seen, [max(1, round(height * shrink)), max(1, round(width * shrink))], antialias=True)
        return seen

    def upsample(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        """Coarse depth (B, V, h, w) to the size of what the model saw."""
        return F.interpolate(coarse, size, mode="bilinear", align_corners=self.align_corners)


@dataclass(frozen=True)
class Scoring:
    """Which pixels count, and what is done to the prediction before it is compared.

    A pixel counts if min_depth < truth < max_depth, strictly, it lies in the crop, and the model saw it. Predictions
    are clamped to [min_depth, max_depth].

    Args:
        min_depth: in metres.
        max_depth: in metres, the cap.
        crop: (top, left, bottom, right) in pixels of the truth; `garg` or `eigen` for KITTI's, as fractions of the
            truth's size; null for all of it.
        resample: how a prediction is brought to the truth's size where they differ: `bilinear` or `nearest`.
        median_scaling: whether each prediction is scaled by median(truth) / median(prediction), for methods without
            scale.
    """

    min_depth: float = 1e-3
    max_depth: float = 10.0
    crop: tuple[int, int, int, int] | Literal["garg", "eigen"] | None = None
    resample: Literal["bilinear", "nearest"] = "bilinear"
    median_scaling: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_depth < self.max_depth:
            raise ValueError(
                f"scoring from {self.min_depth} to {self.max_depth} m must be an ascending range of depths"
            )

    def box(self, height: int, width: int) -> Box:
        """Where the crop lies in a truth of that size."""
        if self.crop is None:
            return Box(0, 0, height, width)
        if isinstance(self.crop, str):
            top, bottom = {"garg": (0.40810811, 0.99189189), "eigen": (0.3324324, 0.91351351)}[self.crop]
            left, right = {"garg": (0.03594771, 0.96405229), "eigen": (0.0359477, 0.96405229)}[self.crop]
            return Box(int(top * height), int(left * width), int(bottom * height), int(right * width))
        return Box(*self.crop)

    def mask(self, truth: Tensor, seen: Box) -> Tensor:
        """Which pixels of a truth (H, W) count, of the box that the model saw, (h, w) bool."""
        crop = self.box(truth.shape[0], truth.shape[1])
        inside = torch.zeros_like(truth, dtype=torch.bool)
        inside[crop.top : crop.bottom, crop.left : crop.right] = True
        return seen.cut(inside & (truth > self.min_depth) & (truth < self.max_depth))

    def resampled(self, depth: Tensor, seen: Box) -> Tensor:
        """Depth (V, h, w) of what the model saw, at the size that this box has in the truth."""
        if tuple(depth.shape[-2:]) == seen.size:
            return depth
        corners = False if self.resample == "bilinear" else None
        return F.interpolate(depth[None], seen.size, mode=self.resample, align_corners=corners)[0]

    def select(self, depth: Tensor, truth: Tensor, seen: Box) -> tuple[Tensor, Tensor]:
        """The pixels that count: predictions (V, N), scaled and clamped as the protocol says, and truth (N,).

        Args:
            depth: (V, h, w) metres, V predictions of what the model saw.
            truth: (H, W) metres, all of it, 0 = invalid.
            seen: where in the truth the model looked.
        """
        mask = self.mask(truth, seen)
        prediction, true = self.resampled(depth, seen)[:, mask], seen.cut(truth)[mask]
        if self.median_scaling and len(true):
            prediction = prediction * (true.median() / prediction.median(1, keepdim=True).values)
        return prediction.clamp(self.min_depth, self.max_depth), true


def seen_in_truth(box: Box, image: tuple[int, int], truth: tuple[int, int]) -> Box:
    """A box of the image in pixels of a truth that shows the same scene at another size (rounded)."""
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
    "eigen_kitti": Scoring(max_depth=80.0, crop="eigen"),
    "make3d_c1": Scoring(max_depth=70.0, resample="nearest"),
    "make3d_c2": Scoring(max_depth=80.0, resample="nearest"),
}


def view_of(view: View | str) -> View:
    """A View by the name of its preset, or the one given.

    Raises:
        ValueError: if there is none of that name.
    """
    if isinstance(view, View):
        return view
    if view not in VIEWS:
        raise ValueError(f"view {view!r} is no preset; choose one of {', '.join(VIEWS)}, or spell it out")
    return VIEWS[view]


def scoring_of(scoring: Scoring | str) -> Scoring:
    """A Scoring by the name of its preset, or the one given.

    Raises:
        ValueError: if there is none of that name.
    """
    if isinstance(scoring, Scoring):
        return scoring
    if scoring not in SCORINGS:
        raise ValueError(f"scoring {scoring!r} is no preset; choose one of {', '.join(SCORINGS)}, or spell it out")
    return SCORINGS[scoring]
