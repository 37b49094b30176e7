"""The contract of an image tower: any image size, intermediate maps, and a place where dense readouts begin.

A tower runs the unmodified layers up to the point at which readouts differ (`trunk`), and from there to the pooled
feature of the library's own `encode_image` (`pool`). Position tables are resampled from the original ones at every
call and no layer is ever changed, so that one image size leaves no trace in the next.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

from depthclip.errors import InputError


class Trunk(NamedTuple):
    """Features at the point where readouts differ.

    Args:
        values: (B, C, h, w) for convolutional towers, (B, prefix + h*w, C) for transformers.
        grid: (h, w), the number of patches.
        layers: (B, C_l, h_l, w_l) for each intermediate map asked for.
    """

    values: Tensor
    grid: tuple[int, int]
    layers: tuple[Tensor, ...] = ()


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Arrange the last h*w tokens of (B, prefix + h*w, C) on their grid, (B, C, h, w)."""
    height, width = grid
    return tokens[:, -height * width :].unflatten(1, (height, width)).permute(0, 3, 1, 2)


def to_multiples(images: Tensor, stride: int) -> Tensor:
    """Resize images (B, 3, H, W) to the nearest multiples of a stride; return those that fit unchanged."""
    size = [max(1, round(side / stride)) * stride for side in images.shape[-2:]]
    return images if list(images.shape[-2:]) == size else TF.resize(images, size, antialias=True)


class Tower(nn.Module):
    """A frozen image tower.

    Args:
        kind: name of the family, for messages.
        stride: pixels from one patch to the next.
        native: (height, width) of the training images.
        depth: number of blocks that `layers` can name.
        output_dim: D, the size of the joint space.
    """

    def __init__(
        self, kind: str, stride: int, native: tuple[int, int], depth: int, output_dim: int | None = None
    ) -> None:
        super().__init__()
        self.kind = kind
        self.stride = stride
        self.native = native
        self.depth = depth
        self.output_dim = output_dim

    def to_stride(self, images: Tensor) -> Tensor:
        """Resize (B, 3, H, W) to the nearest multiples of the stride, so that the patches cover the whole image."""
        return to_multiples(images, self.stride)

    def block_indices(self, layers: tuple[int, ...]) -> list[int]:
        """Return block indices counted from 0; negative ones count from the end, as in timm's `indices`.

        Raises:
            InputError: if the tower has no such block.
        """
        if outside := [layer for layer in layers if not -self.depth <= layer < self.depth]:
            raise InputError(
                f"layers {list(layers)}: the {self.kind} tower has the blocks 0 to {self.depth - 1}, not {outside[0]}; "
                "choose among these, or count from the end with negative indices"
            )
        return [layer % self.depth for layer in layers]

    def trunk(self, images: Tensor, layers: tuple[int, ...] = ()) -> Trunk:
        """Run the layers that all readouts share.

        Args:
            images: (B, 3, H, W), normalised, H and W multiples of the stride.
            layers: block indices of the intermediate maps to return too, as timm's `forward_intermediates` does.

        Raises:
            InputError: if the tower has no such block.
        """
        raise NotImplementedError

    def pool(self, trunk: Trunk) -> Tensor:
        """Return the pooled feature of the unmodified tower, (B, D), not normalised."""
        raise NotImplementedError
