"""The readout `crops`."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from depthclip.checks import check_count
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.encoder.readouts.base import Readout
from depthclip.encoder.towers import Tower, to_map, to_multiples
from depthclip.errors import InputError


class Crops(Readout):
    """Each patch is cut out, resized to the tower's native resolution and encoded as an image.

    Patches are centred on the cells of a grid of `stride` pixels; beyond the border, the outermost pixels are repeated.
    Images whose sides are not multiples of the stride are resized to the nearest multiples first.

    Args:
        patch: side of a patch, in pixels of the view.
        stride: distance between the centres of neighbouring patches, in pixels; at most `patch`, and both are even or
            both are odd.
        batch: number of patches in a forward pass.

    Raises:
        InputError: if a value is out of range, or `stride` does not fit `patch`.
    """

    def __init__(self, patch: int = 64, stride: int = 32, batch: int = 256) -> None:
        super().__init__()
        check_count("patch", patch, at_most=4096, unit="pixels")
        check_count("stride", stride, at_most=4096, unit="pixels")
        check_count("batch", batch, at_most=1_000_000, unit="patches")
        if stride > patch or (patch - stride) % 2:
            raise InputError(f"stride {stride} must be at most patch {patch}, and both even or both odd")
        self.patch, self.stride, self.batch = patch, stride, batch

    def forward(self, tower: Tower, images: Tensor, needs: Needs) -> ImageFeatures:
        """Return the dense features of normalized images (B, 3, H, W).

        Pooled features and intermediate maps are computed by an extra pass over the whole image.
        """
        images = to_multiples(images, self.stride)
        margin = (self.patch - self.stride) // 2
        grid = (images.shape[-2] // self.stride, images.shape[-1] // self.stride)
        patches = F.unfold(F.pad(images, (margin,) * 4, mode="replicate"), self.patch, stride=self.stride)
        patches = patches.mT.reshape(-1, 3, self.patch, self.patch)
        pools = [tower.pool(tower.trunk(self.to_native(part, tower))) for part in patches.split(self.batch)]
        dense = to_map(F.normalize(torch.cat(pools), dim=-1).unflatten(0, (len(images), -1)), grid)
        if not needs.pooled and not needs.layers:
            return ImageFeatures(dense)
        trunk = tower.trunk(tower.to_stride(images), needs.layers)
        return ImageFeatures(dense, F.normalize(tower.pool(trunk), dim=-1) if needs.pooled else None, trunk.layers)

    def to_native(self, patches: Tensor, tower: Tower) -> Tensor:
        """Resize patches (N, 3, p, p) to the tower's native resolution."""
        same = tower.native == (self.patch, self.patch)
        return patches if same else TF.resize(patches, list(tower.native), antialias=True)
