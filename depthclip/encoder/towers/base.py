"""The base class of image towers: any image size, intermediate maps, and the features that dense readouts start from.

`trunk` runs the unmodified layers up to the point at which readouts differ; `pool` continues from there to the feature
that open_clip's `encode_image` returns. Position embeddings are resampled from the original ones at every call, and no
parameter is changed, so that the result does not depend on the sizes of earlier images.
"""

from typing import Any, NamedTuple

from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

from depthclip.encoder.attention import BlockParts
from depthclip.errors import InputError


class Trunk(NamedTuple):
    """Features at the point at which readouts differ.

    Args:
        values: (B, C, h, w) for convolutional towers; (B, prefix + h*w, C) for transformers; (B, D) for a tower without
            dense features.
        grid: (h, w), the number of patches along each axis.
        layers: (B, C_l, h_l, w_l), the requested intermediate maps.
        last_input: (B, prefix + h*w, C), the input of the last block of a `TransformerTower`.
    """

    values: Tensor
    grid: tuple[int, int]
    layers: tuple[Tensor, ...] = ()
    last_input: Tensor | None = None


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Arrange the last h*w tokens of (B, prefix + h*w, C) on their grid, (B, C, h, w)."""
    height, width = grid
    return tokens[:, -height * width :].unflatten(1, (height, width)).permute(0, 3, 1, 2)


def to_multiples(images: Tensor, stride: int) -> Tensor:
    """Resize images (B, 3, H, W) to the nearest multiples of a stride, or return them unchanged if they fit."""
    size = [max(1, round(side / stride)) * stride for side in images.shape[-2:]]
    return images if list(images.shape[-2:]) == size else TF.resize(images, size, antialias=True)


class Tower(nn.Module):
    """A frozen image tower.

    Args:
        kind: name of the family, for messages.
        stride: distance between neighbouring patches, in pixels.
        native: (height, width) of the training images, in pixels.
        depth: number of blocks, whose outputs are the intermediate maps.
        output_dim: dimension of the joint space, D; None if no readout of the family uses it.

    Attributes:
        channels_last: whether images and weights should be in the memory format `torch.channels_last`, in which
            convolutions are faster; the maps of the trunk then are in this format too.
        limit: why readouts of patches do not fit, as a clause that follows the word "tower"; "" if some do.
    """

    channels_last = False
    limit = ""

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
        """Resize (B, 3, H, W) to the nearest multiples of the stride, so that the patches cover the image."""
        return to_multiples(images, self.stride)

    def block_indices(self, layers: tuple[int, ...]) -> list[int]:
        """Return non-negative block indices; negative ones in `layers` count from the end, as in timm's `indices`.

        Raises:
            InputError: if an index is out of range.
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
            images: (B, 3, H, W), normalized; H and W are multiples of the stride.
            layers: indices of the blocks whose outputs are returned as intermediate maps, in this order. The maps equal
                those of `forward_intermediates` of timm and open_clip, before any final norm.

        Raises:
            InputError: if an index is out of range.
        """
        raise NotImplementedError

    def pool(self, trunk: Trunk) -> Tensor:
        """Return the pooled features of the unmodified tower, (B, D), not normalized."""
        raise NotImplementedError

    def pool_each(self, trunk: Trunk) -> Tensor:
        """Return the pooled feature of each patch alone, (B, D, h, w), not normalized.

        Towers define it whose pooling or head can be applied to a single patch.
        """
        raise NotImplementedError


class TransformerTower(Tower):
    """A transformer whose last block readouts replace; its `trunk` returns `last_input`."""

    def block_parts(self, grid: tuple[int, int]) -> BlockParts:
        """Return the parts of the last block.

        Args:
            grid: (h, w), the number of patches along each axis, for rotary positions.

        Raises:
            InputError: if blocks of this type are not supported.
        """
        raise NotImplementedError

    def project_patches(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the feature of each patch after the final norm and projection, (B, D, h, w), not normalized.

        A tower with an attention-pool head pools each token as the only key.

        Args:
            tokens: (B, prefix + h*w, C), the output of the last block, with or without prefix tokens.
            grid: (h, w).
        """
        raise NotImplementedError


class BlockTower(TransformerTower):
    """A transformer whose blocks are run one by one: `trunk` returns the input of the last block."""

    @property
    def blocks(self) -> Any:
        """The blocks, in their order."""
        raise NotImplementedError

    @property
    def last_block(self) -> Any:
        """The last block, which dense readouts replace."""
        return self.blocks[-1]

    def project(self, values: Tensor) -> Tensor:
        """Apply the final norm and the projection to the joint space, (..., C) to (..., D)."""
        raise NotImplementedError

    def run(self, values: Tensor, grid: tuple[int, int], layers: tuple[int, ...]) -> Trunk:
        """Return the input of the last block and the requested intermediate maps.

        Args:
            values: (B, prefix + h*w, C), the input of the first block.
            grid: (h, w), the number of patches along each axis.
            layers: indices of the blocks whose outputs are returned.
        """
        indices = self.block_indices(layers)
        maps: dict[int, Tensor] = {}
        for index, block in enumerate(self.blocks[:-1]):
            values = block(values)
            if index in indices:
                maps[index] = to_map(values, grid).contiguous()
        if self.depth - 1 in indices:
            maps[self.depth - 1] = to_map(self.last_block(values), grid).contiguous()
        return Trunk(values, grid, tuple(maps[index] for index in indices), values)

    def project_patches(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the feature of each patch after the final norm and projection, (B, D, h, w), not normalized."""
        return to_map(self.project(tokens), grid)

    def pool_each(self, trunk: Trunk) -> Tensor:
        """Return the projected output of the last block for each patch, (B, D, h, w), not normalized."""
        return self.project_patches(self.last_block(trunk.values), trunk.grid)
