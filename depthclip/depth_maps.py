"""The depth of all heads for an image, at the size that the model saw."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from depthclip.head.interfaces import Coarse
from depthclip.protocol import View
from depthclip.uncertainty import spread_maps


class BatchDepth:
    """The coarse depth of V heads for B images of one size, which is upsampled when it is read.

    The depth of a head for an image that is not finite in all patches becomes NaN as a whole, so that its errors show
    it. Heads that follow each other and whose maps have one size are upsampled together.

    Args:
        outputs: outputs of V heads for the images.
        view: view by which the maps are upsampled.
        size: (H, W) of the images that the model saw.
    """

    def __init__(self, outputs: Sequence[Coarse], view: View, size: tuple[int, int]) -> None:
        self.outputs, self.view, self.size = outputs, view, size
        runs = itertools.groupby((output.depth for output in outputs), lambda depth: (depth.shape, depth.dtype))
        finite = [nan_unless_finite(torch.cat([*run], 1)) for _, run in runs]
        self.images = [*zip(*(run.split(1) for run in finite), strict=True)]  # B times (1, v, h, w) for each run

    def image(self, k: int) -> "ImageDepth":
        """Return the depth of image k."""
        return ImageDepth(self, k)


class ImageDepth:
    """The depth of V heads for one image, (h, w) metres each at the size that the model saw; upsampled when it is read.

    Args:
        batch: the coarse depth of its batch.
        k: position in the batch.
    """

    def __init__(self, batch: BatchDepth, k: int) -> None:
        self.batch, self.k = batch, k

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the depth of one head after the other, (h, w)."""
        for run in self.batch.images[self.k]:
            for coarse in run.split(1, 1):
                yield self._upsampled(coarse)[0]

    def stack(self, heads: int | None = None) -> Tensor:
        """Return the depth of the first heads, (V, h, w).

        Args:
            heads: number of heads; None for all.
        """
        if heads is not None:
            return torch.stack([*itertools.islice(self, heads)])
        maps = [self._upsampled(run) for run in self.batch.images[self.k]]
        return maps[0] if len(maps) == 1 else torch.cat(maps)

    def coarse(self) -> list[Coarse]:
        """Return the outputs of the heads for this image, as batches of size 1."""
        return [output.image(self.k) for output in self.batch.outputs]

    def spread(self, heads: int | None = None) -> Tensor:
        """Return the standard deviation of the depth of the first heads in metres, (V, h, w); NaN where there is none.

        Args:
            heads: number of heads; None for all.
        """
        return spread_maps(self.coarse()[:heads], self.batch.view, self.batch.size)

    def _upsampled(self, coarse: Tensor) -> Tensor:
        return self.batch.view.upsample(coarse, self.batch.size)[0].float()


def nan_unless_finite(depth: Tensor) -> Tensor:
    """Return depth maps (..., h, w), each filled with NaN if any of its values is not finite."""
    return depth.masked_fill(~depth.isfinite().all(-1).all(-1)[..., None, None], torch.nan)
