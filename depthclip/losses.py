"""Losses: how far predicted depth is from the truth, for `fit`.

A loss is computed for each image over its scored pixels, and the mean over images is what is minimised. That mean is
the same on one device and on many, which no mean over the pixels of a batch is.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.checks import check_choice, check_number
from depthclip.errors import InputError


class Compared(NamedTuple):
    """The depth of one image beside its truth.

    Args:
        depth: (H, W) predicted metres, on the grid of the truth.
        truth: (H, W) metres.
        mask: (H, W) bool, which pixels count; elsewhere the truth may be anything.
        logits: (K, h, w), the coarse logits over the area that the truth covers; None where the loss does not ask for
            them.
        bins: (K,) metres; None likewise.
    """

    depth: Tensor
    truth: Tensor
    mask: Tensor
    logits: Tensor | None = None
    bins: Tensor | None = None


class Loss(nn.Module):
    """The mean over images of what `image` says of each; a loss of your own overrides that."""

    needs_logits = False

    def image(self, seen: Compared) -> Tensor:
        """The loss of one image with at least one pixel that counts, ()."""
        raise NotImplementedError

    def forward(self, batch: Sequence[Compared]) -> Tensor:
        """The mean over the images of a batch, (); an image without a pixel that counts adds nothing to the sum."""
        return torch.stack([self.image(seen) if seen.mask.any() else 0 * seen.depth.sum() for seen in batch]).mean()


class SILog(Loss):
    """Scale-invariant logarithmic loss: scale * sqrt(mean(g^2) - variance_focus * mean(g)^2), g = ln depth - ln truth.

    From Eigen et al. (arXiv 1406.2283), in the form of AdaBins (arXiv 2011.14141), which also Auty and Mikolajczyk
    train with.

    Args:
        variance_focus: 0 to 1; 1 forgives a wrong scale, 0 is the root mean squared logarithmic error.
        scale: multiplies the loss.
        pooled: whether the pixels of all images of a batch are one set, as AdaBins and Auty do. Its gradient then
            depends on how a batch is divided over devices.

    Raises:
        InputError: if variance_focus is not between 0 and 1, or scale is not positive.
    """

    def __init__(self, variance_focus: float = 0.85, scale: float = 10.0, pooled: bool = False) -> None:
        super().__init__()
        check_number("variance_focus", variance_focus, at_least=0, at_most=1)
        check_number("scale", scale, above=0)
        self.variance_focus = variance_focus
        self.scale = scale
        self.pooled = pooled

    def image(self, seen: Compared) -> Tensor:
        """The loss of one image."""
        return self.of(log_ratio(seen))

    def forward(self, batch: Sequence[Compared]) -> Tensor:
        """The mean over images, or the loss of all pixels together."""
        if not self.pooled or not any(seen.mask.any() for seen in batch):
            return super().forward(batch)
        return self.of(torch.cat([log_ratio(seen) for seen in batch]))

    def of(self, g: Tensor) -> Tensor:
        """The loss of logarithmic differences (n,)."""
        spread = g.square().mean() - self.variance_focus * g.mean().square()
        # a perfect prediction has no gradient, rather than an infinite one
        return self.scale * spread.clamp(min=1e-12).sqrt()


class L1(Loss):
    """The mean absolute error in metres, mean |depth - truth|."""

    def image(self, seen: Compared) -> Tensor:
        """The loss of one image."""
        return (seen.depth - seen.truth)[seen.mask].abs().mean()


class BinCrossEntropy(Loss):
    """Cross-entropy between the weights of the words and the bins in which the true depths lie, -mean sum_k y_k ln w_k.

    The bins themselves get no gradient from it: fix them, fit them, or add nothing to learn there.

    Args:
        target: `nearest` for all of y on the bin nearest in metres; `neighbours` shares it between the bins on either
            side of the depth, so that sum_k y_k b_k is the depth within the range of the bins.
        at: `patches` takes the weights of the patch that a pixel lies in; `pixels` upsamples the logits bilinearly,
            which needs the memory of K images.

    Raises:
        InputError: if target or at is unknown, or, from `forward`, if the head gives no logits.
    """

    needs_logits = True

    def __init__(
        self, target: Literal["nearest", "neighbours"] = "nearest", at: Literal["patches", "pixels"] = "patches"
    ) -> None:
        super().__init__()
        check_choice("target", target, ("nearest", "neighbours"))
        check_choice("at", at, ("patches", "pixels"))
        self.target = target
        self.at = at

    def image(self, seen: Compared) -> Tensor:
        """The loss of one image."""
        if seen.logits is None or seen.bins is None:
            raise InputError("BinCrossEntropy needs a head with logits and bins; choose SILog or L1 for this head")
        logits = seen.logits.float()
        if self.at == "pixels":
            logits = F.interpolate(logits[None], seen.truth.shape, mode="bilinear", align_corners=False)[0]
        height, width = logits.shape[1:]
        rows = patch_of(seen.truth.shape[0], height, logits.device)
        columns = patch_of(seen.truth.shape[1], width, logits.device)
        inside = (rows[:, None] * width + columns)[seen.mask]  # (n,), the patch of each pixel
        log_weights = logits.log_softmax(0).flatten(1)
        lower, share = between(seen.truth[seen.mask], seen.bins.detach().float(), self.target)
        return -((1 - share) * log_weights[lower, inside] + share * log_weights[lower + 1, inside]).mean()


def log_ratio(seen: Compared) -> Tensor:
    """ln depth - ln truth of the pixels that count, (n,)."""
    return seen.depth[seen.mask].log() - seen.truth[seen.mask].log()


def patch_of(pixels: int, patches: int, device: torch.device) -> Tensor:
    """Along one side, the patch that each pixel's centre lies in, (pixels,)."""
    return (torch.arange(pixels, device=device) * 2 + 1) * patches // (2 * pixels)


def between(depth: Tensor, bins: Tensor, target: Literal["nearest", "neighbours"]) -> tuple[Tensor, Tensor]:
    """For depths (n,), the bin before each, and the share in [0, 1] of the bin after it."""
    lower = (torch.searchsorted(bins, depth.contiguous()) - 1).clamp(0, len(bins) - 2)
    # learned bins may have come to coincide
    step = (bins[lower + 1] - bins[lower]).clamp(min=1e-9)
    share = ((depth - bins[lower]) / step).clamp(0, 1)
    return lower, share.round() if target == "nearest" else share
