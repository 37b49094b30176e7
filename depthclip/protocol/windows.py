"""Windows: large images are cut into overlapping windows, and the maps of the windows are averaged."""

from dataclasses import dataclass

import torch
from torch import Tensor

from depthclip.accelerator import sent


@dataclass(frozen=True)
class Windows:
    """The windows that cover images of one size.

    Along each axis the windows start at multiples of the stride. The last window ends at the border of the image, so
    that all windows have the same size. An axis that is not longer than the window has a single window.

    Args:
        image: (height, width) of the images in pixels.
        window: (height, width) of a window in pixels.
        stride: (down, across), the distances between neighbouring windows in pixels, from 1 to the window.
    """

    image: tuple[int, int]
    window: tuple[int, int]
    stride: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of a window in pixels, at most that of the image."""
        return min(self.window[0], self.image[0]), min(self.window[1], self.image[1])

    @property
    def starts(self) -> tuple[list[int], list[int]]:
        """The first row and the first column of the windows along both axes, in pixels."""
        lasts = [side - window for side, window in zip(self.image, self.size, strict=True)]
        down, across = ([*range(0, last, step), last] for last, step in zip(lasts, self.stride, strict=True))
        return down, across

    @property
    def count(self) -> int:
        """The number of windows of an image, N."""
        down, across = self.starts
        return len(down) * len(across)

    def cut(self, images: Tensor) -> Tensor:
        """Return the windows of images (B, C, H, W), (B * N, C, h, w); those of an image follow each other."""
        if self.count == 1:
            return images
        (height, width), (down, across) = self.size, self.starts
        parts = [images[..., top : top + height, left : left + width] for top in down for left in across]
        return torch.stack(parts, 1).flatten(0, 1)

    def stitch(self, maps: Tensor) -> Tensor:
        """Return the maps of whole images for the maps of their windows.

        The cells of the result are as large as those of a window. Each is the mean, with equal weights, of the windows
        that contain its centre, whose maps are interpolated linearly between the centres of their cells.

        Args:
            maps: (B * N, K, h', w'), in the order of `cut`.

        Returns:
            (B, K, H * h' / h, W * w' / w), with the sides rounded.
        """
        if self.count == 1:
            return maps
        down, across = self.starts
        rows = interpolation(self.image[0], self.size[0], down, maps.shape[-2])
        columns = interpolation(self.image[1], self.size[1], across, maps.shape[-1])
        rows, columns = (sent(weights.to(maps.dtype), maps.device) for weights in (rows, columns))
        of_images = maps.unflatten(0, (-1, len(down), len(across)))
        with torch.autocast(maps.device.type, enabled=False):
            stripes = torch.einsum("yrh,brckhw->bckyw", rows, of_images)
            return torch.einsum("xcw,bckyw->bkyx", columns, stripes)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the windows of each image, (B, K), of values (B * N, K)."""
        return values.unflatten(0, (-1, self.count)).mean(1)


def interpolation(side: int, window: int, starts: list[int], cells: int) -> Tensor:
    """Return the weights of all cells of all windows for the cells of the whole image, along one axis.

    Args:
        side: length of the image in pixels.
        window: length of a window in pixels.
        starts: first pixels of the N windows.
        cells: number of cells of a window.

    Returns:
        (M, N, cells) float64, which sums to 1 over the last two axes; M is side * cells / window, rounded.
    """
    count = max(1, round(side * cells / window))
    centres = (torch.arange(count, dtype=torch.float64) + 0.5) * (side / count)
    offsets = centres[:, None] - torch.tensor(starts, dtype=torch.float64)  # (M, N), in pixels of the window
    inside = (offsets >= 0) & (offsets <= window)
    places = (offsets * (cells / window) - 0.5).clamp(0, cells - 1)  # in cells of the window
    linear = (1 - (places[..., None] - torch.arange(cells)).abs()).clamp(min=0)
    return linear * (inside / inside.sum(1, keepdim=True))[..., None]
