"""The base class of encoders whose image tower is read by a readout."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from depthclip.encoder.compiled import Compiled
from depthclip.encoder.encoder import NOTHING, Encoder
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.encoder.readouts import Readout
from depthclip.encoder.towers import Tower

# Pixels of a pass on a CPU; the maps of more do not stay in its cache, so that each image takes up to a third longer
CACHED_PIXELS = 4 * 256 * 320


class TowerEncoder(Encoder):
    """An encoder of a frozen model, an image tower and a readout; no parameter has a gradient.

    Args:
        model: the model of a library.
        tower: its image tower.
        readout: a readout that fits the tower.
        mean: three numbers that are subtracted from the RGB values in [0, 1].
        std: three numbers by which the difference is divided.
        compile: whether the tower and the readout run through torch.compile.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        tower: Tower,
        readout: Readout,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.model: Any = model.requires_grad_(False).eval()
        self.tower = tower
        if tower.channels_last:  # changes how convolutions lie in memory, and neither their values nor their names
            tower.to(memory_format=torch.channels_last)
        self.readout = readout
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.readout.set_normalization(self.mean, self.std)
        self.read = Compiled(read) if compile else read

    @property
    def weights(self) -> nn.Module:
        """The model of the library."""
        return self.model

    @property
    def settings(self) -> dict[str, object]:
        """The readout and the normalization."""
        normalization = (self.mean.flatten().tolist(), self.std.flatten().tolist())
        return {"readout": self.readout, "normalization": normalization}

    def check(self, needs: Needs) -> None:
        """Check that the tower has the blocks whose maps heads need.

        Raises:
            InputError: if a layer in `needs` is not a block of the tower.
        """
        self.tower.block_indices(needs.layers)

    def encode_image(self, rgb: Tensor, needs: Needs = NOTHING) -> ImageFeatures:
        """Return the dense features of images, and the pooled features and intermediate maps that heads need.

        Images may have any height and width. If these are not multiples of the tower's stride (32 for ResNets, the
        patch size for ViTs), images are resized (bilinear, antialiased) to the nearest multiples, so that the patches
        cover the whole image.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
            needs: the features to compute besides the dense ones.

        Raises:
            InputError: if a layer in `needs` is not a block of the tower.
        """
        return join([self.read(self.readout, self.tower, images, needs) for images in self.passes(rgb)])

    def passes(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """Return normalized images in the memory format of the tower, divided into the batches of its passes.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
        """
        images = (rgb - self.mean) / self.std
        if self.tower.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        most = CACHED_PIXELS // (rgb.shape[-2] * rgb.shape[-1]) if rgb.device.type == "cpu" else len(rgb)
        return images.split(max(1, most))


def join(parts: Sequence[ImageFeatures]) -> ImageFeatures:
    """Return the features of several batches as those of one batch.

    They are contiguous, as those of the cache are: heads round differently in another memory format.
    """
    pooled = [part.pooled for part in parts if part.pooled is not None]
    layers = zip(*(part.layers for part in parts), strict=True)
    return ImageFeatures(
        torch.cat([part.dense for part in parts]).contiguous(),
        torch.cat(pooled) if pooled else None,
        tuple(torch.cat(maps).contiguous() for maps in layers),
    )


def read(readout: Readout, tower: Tower, images: Tensor, needs: Needs) -> ImageFeatures:
    """Return the features that a readout computes from normalized images (B, 3, H, W)."""
    return readout(tower, images, needs)
