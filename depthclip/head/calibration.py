"""Calibration: the mean response of each word over training images, which a head subtracts."""

import torch
from torch import Tensor, nn

from depthclip.errors import InputError


class Calibration(nn.Module):
    """Subtract the mean similarity of each word over training images, which are used without their depth.

    With the similarity s_k(p) of word k and patch p, and the mean over the patches of an image and then over images:

        calibrated s_k(p) = s_k(p) - mean s_k

    Logits are similarities times a constant, so this subtracts each word's mean logit. Checkpoints contain the means.

    Args:
        words: K, the number of words.
    """

    mean: Tensor  # (K,)
    images: Tensor  # () int64, the number of images behind the mean; 0 before `compute`

    def __init__(self, words: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(words))
        self.register_buffer("images", torch.tensor(0))
        self.computed = False  # whether `images` was found to be positive; reading it makes an accelerator wait
        self.sum, self.count = torch.zeros(words, dtype=torch.float64), 0

    @property
    def needs_images(self) -> bool:
        """Whether the means must still be computed."""
        self.computed = bool(self.images)
        return not self.computed

    def update(self, similarities: Tensor) -> None:
        """Add the similarities of B images, (B, K, h, w)."""
        self.sum += similarities.detach().mean((2, 3)).cpu().double().sum(0)
        self.count += len(similarities)

    def compute(self) -> None:
        """Compute the means of the images that `update` added.

        Raises:
            InputError: if there are none.
        """
        if not self.count:
            raise InputError(
                "no training image could be read, but a head with calibrated: true needs some; check the files of the "
                "training split, or set calibrated to false"
            )
        self.mean.copy_(self.sum / self.count)
        self.images.fill_(self.count)
        self.sum.zero_()
        self.count = 0

    def forward(self, similarities: Tensor) -> Tensor:
        """Return the calibrated similarities of B images, (B, K, h, w).

        Raises:
            InputError: if the means are not computed yet.
        """
        if not self.computed and self.needs_images:
            raise InputError(
                "the head has calibrated: true but no mean logits yet; test or train it with a data module that has "
                "training images, or load a checkpoint that holds them"
            )
        return similarities - self.mean[:, None, None]
