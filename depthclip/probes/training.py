"""Features and ground truth of training images, to which probes and words are fitted; each image is encoded once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from depthclip.data.batches import Item
from depthclip.data.module import DepthDataModule
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.errors import InputError
from depthclip.estimator import DepthEstimator
from depthclip.probes.oracles import patch_means, size_of
from depthclip.protocol import Scoring, View


class TrainingBatch(NamedTuple):
    """The features of B training images of one size, or of their windows, with the ground truth of each patch.

    Args:
        features: dense map (B, D, h, w), and the features that were requested; layers have the size of the dense map.
        target: (B, 1, h, w) metres, NaN for a patch without a pixel that counts.
        colour: (3,), the mean of red, green and blue in [0, 1].
        names: names of the images.
        size: (height, width) of the images in pixels.
    """

    features: ImageFeatures
    target: Tensor
    colour: Tensor
    names: tuple[str, ...]
    size: tuple[int, int]

    def pixels_of(self, values: Tensor) -> Tensor:
        """Return values (B, C, h, w) at the P patches with ground truth, (P, C)."""
        return values.permute(0, 2, 3, 1)[self.target[:, 0].isfinite()]


@torch.no_grad()
def encode_training(model: DepthEstimator, data: DepthDataModule, needs: Needs, count: int) -> list[TrainingBatch]:
    """Return the features of training images, not mirrored, and the mean depth of each patch.

    Args:
        model: the frozen encoder.
        data: data module with a training split.
        needs: features to compute beside the dense map.
        count: number of images, evenly spread over the training images; all if there are fewer.

    Raises:
        InputError: if no training image has a valid depth.
    """
    batches = []
    for batch in data.training_batches(count):
        view = replace(batch.view, mirror=False)
        for items, rgb in batch.to(model.device).by_size():
            if all(item.depth is None for item in items):
                continue
            features = model.encode(rgb, view, needs)
            grid = (features.dense.shape[-2], features.dense.shape[-1])
            target = patch_means(torch.cat([counted_depth(item, view, batch.scoring) for item in items]), grid)
            layers = tuple(resized(layer, grid) for layer in features.layers)
            names = tuple(item.name for item in items)
            kept = ImageFeatures(features.dense.float(), features.pooled, layers)
            batches.append(TrainingBatch(kept, target, rgb.mean((0, 2, 3)), names, size_of(items[0])))
    if not any(batch.target.isfinite().any() for batch in batches):
        raise InputError(
            f"{type(data).__name__} has no training image with a valid depth, but probes are fitted to them; "
            "check the training split, data.scoring and the scale of the depth files"
        )
    return batches


def counted_depth(item: Item, view: View, scoring: Scoring) -> Tensor:
    """Return the depth of the pixels that count, 0 elsewhere, of the N windows of an image, (N, 1, H, W) metres."""
    size = size_of(item)
    if item.depth is None:
        depth = torch.zeros(1, 1, *size, device=item.rgb.device)
    else:
        depth = (item.seen.cut(item.depth) * scoring.mask(item.depth, item.seen))[None, None]
    # images of one size may have maps of different sizes, and windows are cut in the image
    return view.windows(*size).cut(F.interpolate(depth, size, mode="nearest-exact"))


def resized(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return maps (B, C, h', w') at the size of a grid in float32: averaged where they are finer, else interpolated."""
    height, width = maps.shape[-2:]
    if height >= grid[0] and width >= grid[1]:
        return F.adaptive_avg_pool2d(maps.float(), grid)
    return F.interpolate(maps.float(), grid, mode="bilinear", align_corners=False)


def mean_colour(batches: Sequence[TrainingBatch]) -> tuple[float, ...]:
    """Return the mean of red, green and blue over training images, in [0, 1]."""
    weights = torch.tensor([float(len(batch.names)) for batch in batches])
    colours = torch.stack([batch.colour.cpu() for batch in batches])
    return tuple(((weights @ colours) / weights.sum()).tolist())
