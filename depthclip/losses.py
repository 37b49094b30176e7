"""Losses of `fit`.

A loss is computed for each image over its scored pixels, and `fit` minimizes the mean over images. This mean does not
depend on the number of devices, as a mean over the pixels of a batch would.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.checks import check_choice, check_number
from depthclip.errors import InputError
from depthclip.head.interfaces import Coarse
from depthclip.protocol import Aligned


class LossInput(NamedTuple):
    """The depth of one image beside its ground truth.

    Args:
        prediction: (H, W) metres, on the grid of the target.
        target: (H, W) metres.
        mask: (H, W) bool, the pixels that count; elsewhere the target may be anything.
        logits: (K, h, w), the coarse logits over the area that the target covers; None for losses that do not need
            them and heads that have none.
        bins: (K,) metres; None likewise.
    """

    prediction: Tensor
    target: Tensor
    mask: Tensor
    logits: Tensor | None = None
    bins: Tensor | None = None


def loss_input(aligned: Aligned, output: Coarse | None) -> LossInput:
    """Return the input of a loss for one image.

    Args:
        aligned: one prediction beside its ground truth.
        output: the head's output for the image, for losses that need logits.
    """
    logits = None if output is None or output.logits is None else output.logits[0]
    bins = None if output is None or output.bins is None else output.bins.reshape(-1)
    return LossInput(aligned.prediction[0], aligned.target, aligned.mask, logits, bins)


class Loss(nn.Module):
    """The mean of the losses of the images; a subclass overrides `per_image`.

    A subclass that reads `logits` and `bins` of its input sets `needs_logits = True`.
    """

    needs_logits = False

    def per_image(self, image: LossInput) -> Tensor:
        """Return the loss of one image with at least one pixel that counts, ()."""
        raise NotImplementedError

    def forward(self, batch: Sequence[LossInput]) -> Tensor:
        """Return the mean over the images of a batch, (); an image without a pixel that counts adds 0 to the sum."""
        losses = [self.per_image(image) if image.mask.any() else 0 * image.prediction.sum() for image in batch]
        return torch.stack(losses).mean()


class SILog(Loss):
    """Scale-invariant logarithmic loss, scale * sqrt(mean(g^2) - variance_focus * mean(g)^2).

    Here g = ln prediction - ln target over the pixels that count.

    It comes from Eigen et al. (arXiv 1406.2283), here in the form of AdaBins (arXiv 2011.14141), with which Auty and
    Mikolajczyk train too.

    Args:
        variance_focus: 0 to 1; 1 ignores a wrong scale, 0 gives the root mean squared logarithmic error.
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

    def per_image(self, image: LossInput) -> Tensor:
        """Return the loss of one image, ()."""
        return self.of(log_ratio(image))

    def forward(self, batch: Sequence[LossInput]) -> Tensor:
        """Return the mean over images, or the loss of all pixels together if `pooled`."""
        if not self.pooled or not any(image.mask.any() for image in batch):
            return super().forward(batch)
        return self.of(torch.cat([log_ratio(image) for image in batch]))

    def of(self, g: Tensor) -> Tensor:
        """Return the loss of logarithmic differences (n,)."""
        spread = g.square().mean() - self.variance_focus * g.mean().square()
        # a perfect prediction has the gradient 0 instead of an infinite one
        return self.scale * spread.clamp(min=1e-12).sqrt()


class L1(Loss):
    """The mean absolute error in metres, mean |prediction - target|."""

    def per_image(self, image: LossInput) -> Tensor:
        """Return the loss of one image, ()."""
        return (image.prediction - image.target)[image.mask].abs().mean()


class BinLoss(Loss):
    """Base class of losses that compare the weights of the words with the bins in which the true depths lie.

    The target y of a pixel is a distribution over the bins. A subclass overrides `per_image` and calls `pixels`.

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

    def pixels(self, image: LossInput) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the logits and the target of the n pixels that count.

        Returns:
            Logits of P places (K, P), and for each pixel (n,) its place, the lower bin of its target, and the share
            of the target in the bin after it, the rest of which is in the lower bin.
        """
        if image.logits is None or image.bins is None:
            name = type(self).__name__
            raise InputError(f"{name} needs a head with logits and bins; choose SILog or L1 for this head")
        logits = image.logits.float()
        if self.at == "pixels":
            logits = F.interpolate(logits[None], image.target.shape, mode="bilinear", align_corners=False)[0]
        height, width = logits.shape[1:]
        rows = patch_of(image.target.shape[0], height, logits.device)
        columns = patch_of(image.target.shape[1], width, logits.device)
        inside = (rows[:, None] * width + columns)[image.mask]
        lower, share = between(image.target[image.mask], image.bins.detach().float(), self.target)
        return logits.flatten(1), inside, lower, share


class BinCrossEntropy(BinLoss):
    """Cross-entropy between the weights of the words and the bins in which the true depths lie, -mean sum_k y_k ln w_k.

    The bins get no gradient from it: use fixed or fitted bins.

    Args:
        target: `nearest` for all of y on the bin nearest in metres; `neighbours` shares it between the bins on either
            side of the depth, so that sum_k y_k b_k is the depth within the range of the bins.
        at: `patches` takes the weights of the patch that a pixel lies in; `pixels` upsamples the logits bilinearly,
            which needs the memory of K images.

    Raises:
        InputError: if target or at is unknown, or, from `forward`, if the head gives no logits.
    """

    def per_image(self, image: LossInput) -> Tensor:
        """Return the loss of one image, ()."""
        logits, inside, lower, share = self.pixels(image)
        log_weights = logits.log_softmax(0)
        return -((1 - share) * log_weights[lower, inside] + share * log_weights[lower + 1, inside]).mean()


def log_ratio(image: LossInput) -> Tensor:
    """Return ln prediction - ln target of the pixels that count, (n,)."""
    return image.prediction[image.mask].log() - image.target[image.mask].log()


def patch_of(pixels: int, patches: int, device: torch.device) -> Tensor:
    """Return the patch in which the centre of each pixel lies, along one side, (pixels,)."""
    return (torch.arange(pixels, device=device) * 2 + 1) * patches // (2 * pixels)


def between(depth: Tensor, bins: Tensor, target: Literal["nearest", "neighbours"]) -> tuple[Tensor, Tensor]:
    """Return, for depths (n,), the bin before each, and the share in [0, 1] of the bin after it."""
    lower = (torch.searchsorted(bins, depth.contiguous()) - 1).clamp(0, len(bins) - 2)
    # learned bins may have come to coincide
    step = (bins[lower + 1] - bins[lower]).clamp(min=1e-9)
    share = ((depth - bins[lower]) / step).clamp(0, 1)
    return lower, share.round() if target == "nearest" else share
