"""The field's training augmentations, on image and depth together."""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2


class Augment:
    """Random rotation, crop, mirror and colour, as BTS and its followers train.

    Args:
        crop: (height, width) of the random crop in pixels; null keeps the size.
        mirror: probability of mirroring.
        rotation: largest angle in degrees either way; what turns in from outside has no depth.
        colour: strength of the change of brightness, contrast and saturation, each a factor from 1 - colour to
            1 + colour.
    """

    def __init__(
        self,
        crop: tuple[int, int] | None = None,
        mirror: float = 0.5,
        rotation: float = 2.5,
        colour: float = 0.1,
    ) -> None:
        steps: list[v2.Transform] = []
        if rotation:
            steps.append(v2.RandomRotation(rotation, interpolation=v2.InterpolationMode.BILINEAR))
        if crop is not None:
            steps.append(v2.RandomCrop(list(crop)))
        if mirror:
            steps.append(v2.RandomHorizontalFlip(mirror))
        if colour:
            steps.append(v2.ColorJitter(brightness=colour, contrast=colour, saturation=colour))
        self.transform = v2.Compose(steps or [v2.Identity()])

    def __call__(self, image: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Changes an image (3, H, W) uint8 and its depth (H, W) in metres alike.

        Depth is handled as a mask: nearest neighbour, never blended, 0 where nothing was seen.
        """
        seen, truth = self.transform(tv_tensors.Image(image), tv_tensors.Mask(depth[None]))
        return seen.as_subclass(torch.Tensor), truth.as_subclass(torch.Tensor)[0]
