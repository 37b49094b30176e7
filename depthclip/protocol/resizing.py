"""Resize images, bilinear and antialiased."""

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image (3, H, W) to a (height, width), bilinear and antialiased.

    PyTorch cannot resize uint8 to a single pixel, so that pixel is computed in float32 and rounded.
    """
    if tuple(size) == (1, 1) and image.dtype == torch.uint8:
        return TF.resize(image.float(), [1, 1], antialias=True).round().to(torch.uint8)
    return TF.resize(image, list(size), antialias=True)
