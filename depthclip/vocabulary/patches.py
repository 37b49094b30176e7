"""The features and depths of the patches of training images."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from depthclip.data.batches import Item
from depthclip.data.module import DepthDataModule
from depthclip.encoder.interfaces import Needs
from depthclip.errors import InputError
from depthclip.module import DepthCLIP
from depthclip.protocol import Scoring

LARGEST = 4 * 2**30  # bytes of features that are kept


class Patches(NamedTuple):
    """The patches of N images, image after image and row after row.

    Args:
        features: (P, D) float32, the features, or any other D values of each patch.
        depth: (P,) float32, the mean depth of the pixels that count in each patch, in metres; NaN if none counts.
        sizes: for each image, the (height, width) of its map of patches.
    """

    features: np.ndarray
    depth: np.ndarray
    sizes: tuple[tuple[int, int], ...]

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """The first and one past the last patch of each image."""
        ends = np.cumsum([height * width for height, width in self.sizes]).tolist()
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def depth_of_another(self, seed: int) -> np.ndarray:
        """Return depth (P,) in which each image has the depth map of another image, drawn at random.

        Maps of other sizes are resampled to the nearest patch. A patch without depth stays without depth.

        Args:
            seed: seed of the random cyclic order of the images.
        """
        order = np.random.default_rng(seed).permutation(len(self.sizes))  # a cycle, so that no image keeps its depth
        maps = [
            torch.from_numpy(self.depth[start:end]).reshape(1, 1, *size)
            for (start, end), size in zip(self.bounds, self.sizes, strict=True)
        ]
        other = np.empty_like(self.depth)
        for here, there in zip(order, np.roll(order, 1), strict=True):
            start, end = self.bounds[here]
            other[start:end] = F.interpolate(maps[there], self.sizes[here], mode="nearest-exact").flatten().numpy()
        return np.where(np.isnan(self.depth), np.nan, other)


def patch_depth(item: Item, scoring: Scoring, size: tuple[int, int]) -> Tensor:
    """Return the mean depth of the pixels that count in each patch of an image, (h, w) metres; NaN if none counts.

    Args:
        item: the image and its ground truth.
        scoring: the pixels that count.
        size: (h, w) of the map of patches.
    """
    mask = scoring.mask(item.target, item.seen).double()[None]
    depth = item.seen.cut(item.target).double()[None]
    share = F.adaptive_avg_pool2d(mask, size)[0]
    return (F.adaptive_avg_pool2d(torch.where(mask > 0, depth, 0), size)[0] / share).float()  # 0 / 0 is NaN


@torch.no_grad()
def patch_batches(model: DepthCLIP, data: DepthDataModule, count: int) -> Iterator[Patches]:
    """Yield the patches of training images, a batch of images of one size at a time; each image is encoded once.

    Mirrored images are not encoded. Features of overlapping windows are averaged.

    Args:
        model: the model whose encoder is used.
        data: the data module.
        count: largest number of training images, evenly spread over the training split.
    """
    for batch in data.training_batches(count):
        for items, rgb in batch.to(model.device).by_size():
            windows = batch.view.windows(rgb.shape[-2], rgb.shape[-1])
            dense = windows.stitch(model.encoder.encode_image(windows.cut(rgb), Needs()).dense.float())
            size = (dense.shape[-2], dense.shape[-1])
            truth = [k for k, item in enumerate(items) if item.depth is not None]
            if truth:
                depth = torch.stack([patch_depth(items[k], batch.scoring, size) for k in truth])
                features = dense[truth].permute(0, 2, 3, 1).flatten(0, 2)
                yield Patches(features.cpu().numpy(), depth.flatten().cpu().numpy(), (size,) * len(truth))


def collect_patches(
    model: DepthCLIP, data: DepthDataModule, count: int, words: np.ndarray | None = None, largest: int = LARGEST
) -> Patches:
    """Return the patches of training images, kept in memory.

    Args:
        model: the model whose encoder is used.
        data: the data module.
        count: largest number of training images.
        words: (W, D), features of words whose similarities are kept instead of the features; None for the features.
        largest: largest size of the values that are kept, in bytes.

    Raises:
        InputError: if no patch has a depth, or the values need more memory.
    """
    parts: list[Patches] = []
    size = 0
    for part in patch_batches(model, data, count):
        parts.append(part if words is None else part._replace(features=part.features @ words.T))
        size += parts[-1].features.nbytes
        if size > largest:
            raise InputError(
                f"--images {count}: the features of the first {sum(len(each.sizes) for each in parts)} images exceed "
                f"{largest / 2**30:.3g} GiB; use fewer images, or --stream"
            )
    return joined(parts)


def joined(parts: Sequence[Patches]) -> Patches:
    """Return the patches of several batches as one.

    Raises:
        InputError: if no patch has a depth.
    """
    if not parts or all(np.isnan(part.depth).all() for part in parts):
        raise InputError("no patch of the training images has a depth that counts; check the data and data.scoring")
    return Patches(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.depth for part in parts]),
        tuple(size for part in parts for size in part.sizes),
    )
