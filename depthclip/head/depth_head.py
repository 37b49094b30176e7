"""The head of DepthCLIP: similarities of patches and sentences, turned into depth in metres."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

from depthclip.accelerator import is_accelerator
from depthclip.camera import check_focal
from depthclip.checks import brief, check_choice, check_number
from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder
from depthclip.errors import InputError
from depthclip.head.bins import Bins
from depthclip.head.calibration import Calibration
from depthclip.head.interfaces import Coarse, Head, prepare_once
from depthclip.head.layers import Adapter
from depthclip.head.prompts import Prompts


class DepthHead(Head):
    """Compare patches with sentences and turn the similarities into depth (arXiv 2207.01077).

    For a patch feature f, word features t_k and bins b_k:

        logit_k = logit_scale * <f, t_k> / temperature,    w = softmax(logit),    depth = sum_k w_k b_k

    With `assignment: hard`, depth is the bin of the largest logit instead. With `calibrated`, each word's mean logit
    over training images is subtracted from its logits first.

    Args:
        prompts: the prompts of K distance words.
        bins: K depths in metres, one for each word.
        temperature: divisor of the logits, from 1e-6 to 1e6; 0.1 in the paper.
        logit_scale: factor of the similarities, from 1e-6 to 1e6; null for the scale that CLIP learned, which is 100
            for OpenAI's weights.
        assignment: `soft` for the expectation over bins, `hard` for the bin of the largest logit.
        smoothing: standard deviation, in patches, of a Gaussian filter over the coarse depth, from 0.01 to 1000; 0 for
            no filter. Large filters are cut to the size of the map.
        learn_temperature: whether `fit` learns the temperature, starting from `temperature`.
        adapter: a learned change of the patch features before the comparison; null for none.
        calibrated: whether to subtract each word's mean logit over training images, whose depth is not used. The means
            are computed before a run from `training_images` images of the data module, and checkpoints contain them.
            While words are learned, their means stay those from before the training.
        camera: focal length, in pixels of the image that the model sees, for which the bins hold: depth and bins are
            multiplied by focal / camera where the focal length of the image is known. null for metres as they stand.

    Raises:
        InputError: if the numbers of words and bins differ, a number is out of its range, or (from `forward`) the depth
            is not finite or the means of a calibrated head are not computed yet.
    """

    def __init__(
        self,
        prompts: Prompts,
        bins: Bins,
        temperature: float = 0.1,
        logit_scale: float | None = None,
        assignment: Literal["soft", "hard"] = "soft",
        smoothing: float = 0.0,
        learn_temperature: bool = False,
        adapter: Adapter | None = None,
        calibrated: bool = False,
        camera: float | None = None,
    ) -> None:
        super().__init__()
        if len(prompts.labels) != bins.count:
            raise InputError(
                f"there are {len(prompts.labels)} words {brief(list(prompts.labels))} but {bins.count} bins; "
                "give exactly one word per bin"
            )
        # logits within these bounds are finite in float32; at the bounds the softmax is a maximum or uniform
        check_number(
            "temperature", temperature, at_least=1e-6, at_most=1e6, hint="use assignment: hard for the maximum"
        )
        if logit_scale is not None:
            check_number("logit_scale", logit_scale, at_least=1e-6, at_most=1e6, hint="use null for CLIP's scale")
        check_choice("assignment", assignment, ("soft", "hard"))
        if smoothing != 0:
            check_number("smoothing", smoothing, at_least=0.01, at_most=1e3, unit="patches", hint="use 0 for none")
        if camera is not None:
            check_focal("camera", camera, hint="use null for metres as they stand")
        self.needs = Needs(pooled=prompts.needs_pooled or bins.needs_pooled)
        self.labels = prompts.labels
        self.camera = camera
        self.prompts = prompts
        self.bins = bins
        self.temperature = float(temperature)
        self.logit_scale = logit_scale
        self.assignment = assignment
        self.smoothing = smoothing
        self.adapter = adapter
        self.calibration = Calibration(bins.count) if calibrated else None
        # a logarithm, so that the temperature stays positive
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature))) if learn_temperature else None

    @property
    def needs_depths(self) -> bool:
        """Whether the bins must be fitted to training depths before `forward` can run."""
        return self.bins.needs_depths

    @property
    def needs_images(self) -> bool:
        """Whether the mean logits must be computed from training images before `forward` can run."""
        return self.calibration is not None and self.calibration.needs_images

    def prepare(self, text: TextEncoder) -> None:
        """Prepare the prompts, the bins and the adapter: encode sentences and create parameters."""
        for part in (self.prompts, self.bins, self.adapter):
            if part is not None:
                prepare_once(part, text)

    def word_features(self, text: TextEncoder) -> Tensor | None:
        """Return the text features of the words, (K, D); None if they depend on the image."""
        return None if self.prompts.needs_pooled else self.prompts(text)

    def update(self, depth: Tensor, scene: str) -> None:
        """Add the depth map of one training image to the statistics of the bins."""
        self.bins.update(depth, scene)

    def compute(self) -> None:
        """Fit the bins to the training depths, unless another head that shares them has done so."""
        if self.bins.needs_depths:
            self.bins.compute()

    def calibrate(self, features: ImageFeatures, text: TextEncoder) -> None:
        """Add the similarities of a batch of training images to the mean of each word."""
        if self.calibration is not None:
            words = self.prompts(text, features.pooled)
            with torch.autocast(features.dense.device.type, enabled=False):
                self.calibration.update(compare(self.adapted(features), words))

    def finish_calibration(self) -> None:
        """Compute the mean of each word."""
        if self.calibration is not None:
            self.calibration.compute()

    def forward(self, features: ImageFeatures, text: TextEncoder) -> Coarse:
        """Return coarse depth, logits and bins for dense features (B, D, h, w).

        Logits and softmax are computed in float32 under any precision.

        On an accelerator in evaluation mode, a depth that is not finite is returned as NaN, so that no batch waits for
        the check; `test` and `validate` raise at the end of the epoch, and `infer` when it has the depth.

        Raises:
            InputError: if the depth is not finite, on the CPU or in training mode, or the means of a calibrated head
                are not computed yet.
        """
        words = self.prompts(text, features.pooled)
        bins = self.bins(text, features.pooled)
        scale = text.logit_scale if self.logit_scale is None else self.logit_scale
        temperature = self.temperature if self.log_temperature is None else self.log_temperature.exp()
        with torch.autocast(features.dense.device.type, enabled=False):
            dense = self.adapted(features)
            similarities = compare(dense, words)
            if self.calibration is not None:
                similarities = self.calibration(similarities)
            logits = similarities * (scale / temperature)
            depth = self.depth(logits, bins)
        finite = depth.isfinite().all() & logits.isfinite().all()
        if is_accelerator(depth.device) and not self.training:
            return Coarse(depth.masked_fill(~finite, torch.nan), logits, bins)
        if not finite:
            raise InputError(not_finite({"image features": dense, "words": words, "bins": bins}))
        return Coarse(depth, logits, bins)

    def adapted(self, features: ImageFeatures) -> Tensor:
        """Return the dense features in float32, changed by the adapter if there is one."""
        dense = features.dense.float()
        return dense if self.adapter is None else self.adapter(dense)

    def depth(self, logits: Tensor, bins: Tensor) -> Tensor:
        """Return coarse depth in metres, (B, 1, h, w), for logits (B, K, h, w) and bins (K,) or (B, K)."""
        metres = bins.float().reshape(-1, logits.shape[1], 1, 1)
        if self.assignment == "soft":
            depth = (logits.softmax(1) * metres).sum(1, keepdim=True)
        else:
            depth = metres.expand_as(logits).gather(1, logits.argmax(1, keepdim=True))
        return smooth(depth, self.smoothing) if self.smoothing else depth


def compare(dense: Tensor, words: Tensor) -> Tensor:
    """Return the similarity of each word in each patch, (B, K, h, w).

    Args:
        dense: (B, D, h, w), float32.
        words: (K, D), or (B, K, D) for words that depend on the image.
    """
    # einsum would copy the dense map into another layout, which takes longer than the product
    similarities = words.float().expand(len(dense), -1, -1) @ dense.flatten(2)
    return similarities.unflatten(2, dense.shape[2:])


def smooth(depth: Tensor, deviation: float) -> Tensor:
    """Return depth (B, 1, h, w) after a Gaussian filter.

    The kernel reaches three standard deviations to each side, but never beyond the map; the borders are reflected.
    """
    reach = max(1, round(3 * deviation))
    height, width = (2 * min(reach, side - 1) + 1 for side in depth.shape[-2:])
    return TF.gaussian_blur(depth, kernel_size=[width, height], sigma=[deviation, deviation])


def not_finite(parts: dict[str, Tensor]) -> str:
    """Return the error message for a depth that is not finite, with the names of the parts that are not finite."""
    causes = [name for name, part in parts.items() if not part.isfinite().all()] or ["temperature"]
    return (
        f"the depth is not finite because of NaN or infinity in the {' and the '.join(causes)}; check the images and "
        "the weights, or set a lower learning_rate if this happens while training"
    )
