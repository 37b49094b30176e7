"""Training augmentation that changes an image and its depth together."""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from depthclip.checks import check_count, check_number
from depthclip.errors import InputError

LARGEST_CROP = 100_000  # pixels


class Augment:
    """Random rotation, crop, mirroring and colour jitter, as in BTS and AdaBins.

    Args:
        crop: (height, width) of the random crop in pixels; null keeps the size.
        mirror: probability of mirroring, 0 to 1.
        rotation: largest angle in degrees in either direction, 0 to 180; pixels from outside the image have no depth.
        colour: strength of the jitter of brightness, contrast and saturation, each a factor from 1 - colour to
            1 + colour; 0 to 1.

    Raises:
        InputError: if an argument is not in its range.
    """

    def __init__(
        self,
        crop: tuple[int, int] | None = None,
        mirror: float = 0.5,
        rotation: float = 2.5,
        colour: float = 0.1,
    ) -> None:
        if crop is not None:
            if len(crop) != 2:
                raise InputError(f"augment.crop {list(crop)} must be height and width in pixels, or null")
            for side in crop:
                check_count("augment.crop", side, at_most=LARGEST_CROP, unit="pixels", hint="use null for no crop")
        check_number("augment.mirror", mirror, at_least=0, at_most=1)
        check_number("augment.rotation", rotation, at_least=0, at_most=180, unit="degrees")
        check_number("augment.colour", colour, at_least=0, at_most=1)
        self.crop = crop
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
        """Return an image (3, H, W) uint8 and its depth (H, W) in metres after the same random transform.

        Depth is resampled with the nearest neighbour, and is 0 outside the image.

        Raises:
            InputError: if the crop is larger than the image.
        """
        height, width = image.shape[-2:]
        if self.crop is not None and (self.crop[0] > height or self.crop[1] > width):
            raise InputError(
                f"augment.crop {list(self.crop)} is larger than an image of {height} x {width} pixels; set it smaller, "
                "or to null for no crop"
            )
        seen, truth = self.transform(tv_tensors.Image(image), tv_tensors.Mask(depth[None]))
        return seen.as_subclass(torch.Tensor), truth.as_subclass(torch.Tensor)[0]
