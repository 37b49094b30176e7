"""The contract between DepthCLIP and the heads that turn features into metres.

`Head` is the base class of all heads. The contracts of the two parts of a `DepthHead` are `depthclip.head.Prompts` and
`depthclip.head.Bins`. Both are concrete classes, the fixed prompts and the fixed bins, so that a recipe may leave out
the class_path: `prompts: {words: five}` and `bins: {values: [1, 2, 4]}`.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder


class Coarse(NamedTuple):
    """Outputs of a head for a batch of images, at the resolution of its feature map.

    Args:
        depth: (B, 1, h, w) in metres.
        logits: (B, K, h, w), the response of each word; None for a head without words.
        bins: (K,) or (B, K) in metres; None for a head without bins.
        deviation: (B, 1, h, w) in metres, the standard deviation of the depth, for a head that estimates it; None to
            compute it from logits and bins.
        mirrored: outputs for the mirrored images, mirrored back. If it is set, `depth` is the mean of both depths, and
            all other fields are those of the images as they are.
    """

    depth: Tensor
    logits: Tensor | None = None
    bins: Tensor | None = None
    deviation: Tensor | None = None
    mirrored: "Coarse | None" = None

    @property
    def weights(self) -> Tensor | None:
        """The softmax of the logits over the words, (B, K, h, w); None for a head without words."""
        return None if self.logits is None else self.logits.softmax(1)

    @property
    def spread(self) -> Tensor | None:
        """The standard deviation of the depth in metres, (B, 1, h, w); None without deviation, and words and bins.

        Without `deviation` it is that of the bins b_k under the softmax w_k: sqrt(sum_k w_k (b_k - sum_j w_j b_j)^2).
        With `mirrored` it is that of the mixture of both views in equal parts, whose mean is the depth:
        sqrt((s^2 + s_mirrored^2) / 2 + disagreement^2).
        """
        if self.mirrored is not None and self.disagreement is not None:
            both = self._replace(mirrored=None).spread, self.mirrored.spread
            if both[0] is None or both[1] is None:
                return None
            return ((both[0].square() + both[1].square()) / 2 + self.disagreement.square()).sqrt()
        if self.deviation is not None or self.logits is None or self.bins is None:
            return self.deviation
        weights, bins = self.logits.float().softmax(1), self.bins.float()[..., None, None]
        mean = (weights * bins).sum(1, keepdim=True)
        return (weights * (bins - mean).square()).sum(1, keepdim=True).sqrt()

    @property
    def entropy(self) -> Tensor | None:
        """The entropy of the weights of the words in nats, (B, 1, h, w), from 0 to ln K; None for a head without words.

        With `mirrored` it is the entropy of the mean of the weights of both views.
        """
        weights = self.weights
        if weights is not None and self.mirrored is not None and self.mirrored.weights is not None:
            weights = (weights + self.mirrored.weights) / 2
        return None if weights is None else torch.special.entr(weights.float()).sum(1, keepdim=True)

    @property
    def disagreement(self) -> Tensor | None:
        """Half the absolute difference of the depths of both views in metres, (B, 1, h, w); None without `mirrored`."""
        return None if self.mirrored is None else (self.depth - self.mirrored.depth).abs()

    def image(self, k: int) -> "Coarse":
        """Return the outputs for image k as a batch of size 1; bins (K,) that all images share stay (K,)."""
        return self.images(slice(k, k + 1))

    def images(self, which: slice) -> "Coarse":
        """Return the outputs for some of the images; bins (K,) that all images share stay (K,)."""
        return Coarse(
            self.depth[which],
            None if self.logits is None else self.logits[which],
            self.bins if self.bins is None or self.bins.ndim == 1 else self.bins[which],
            None if self.deviation is None else self.deviation[which],
            None if self.mirrored is None else self.mirrored.images(which),
        )

    def flipped(self) -> "Coarse":
        """Return the outputs with all maps mirrored."""
        return Coarse(
            self.depth.flip(-1),
            None if self.logits is None else self.logits.flip(-1),
            self.bins,
            None if self.deviation is None else self.deviation.flip(-1),
            None if self.mirrored is None else self.mirrored.flipped(),
        )

    def scaled(self, factors: Tensor) -> "Coarse":
        """Return the outputs with all metres multiplied by a factor for each image, (B,); bins become (B, K)."""
        maps = factors[:, None, None, None]
        return Coarse(
            self.depth * maps,
            self.logits,
            None if self.bins is None else self.bins * factors[:, None],
            None if self.deviation is None else self.deviation * maps,
            None if self.mirrored is None else self.mirrored.scaled(factors),
        )


class Head(nn.Module):
    """Base class of modules that turn image features into depth in metres.

    A subclass implements `forward`. It may also have words, bins, or parts that depend on the text tower, on training
    depths or on training images; by default it has none of them. DepthCLIP calls `prepare` once, and runs a head with
    lazy modules such as `nn.LazyConv2d` once on a blank image, both before an optimizer reads the parameters.

    Attributes:
        needs: features that `forward` reads beside the dense map; a class attribute, or set in the constructor.
        labels: a short name for each of the K words, for tables and pictures; empty for a head without words.
        camera: the focal length, in pixels of the image that the model sees, at which the metres of `forward` hold.
            DepthCLIP multiplies depth and bins of an image by focal / camera. None for metres as they stand.
    """

    needs: Needs = Needs()
    labels: tuple[str, ...] = ()
    camera: float | None = None
    prepared = False  # set by `prepare_once`

    @property
    def needs_depths(self) -> bool:
        """Whether the head must be fitted to training depths before `forward` can run."""
        return False

    @property
    def needs_images(self) -> bool:
        """Whether the head must see training images, without their depth, before `forward` can run."""
        return False

    def prepare(self, text: TextEncoder) -> None:
        """Create what depends on the text tower, such as encoded sentences and parameters of its size.

        DepthCLIP calls this method, exactly once.
        """

    def word_features(self, text: TextEncoder) -> Tensor | None:
        """Return the text features of the words, (K, D); None if there are none or they depend on the image."""
        return None

    def update(self, depth: Tensor, scene: str) -> None:
        """Add the depth map of one training image to the statistics of the head.

        Args:
            depth: (H, W) in metres, 0 = invalid.
            scene: the scene of the image as the data set names it; "" if it has no name.
        """

    def compute(self) -> None:
        """Fit the head to the statistics that `update` gathered."""

    def fit(self, depths: Iterable[tuple[Tensor, str]]) -> None:
        """Fit the head to the depth maps and scenes of a training set, see `update`."""
        for depth, scene in depths:
            self.update(depth, scene)
        self.compute()

    def calibrate(self, features: ImageFeatures, text: TextEncoder) -> None:
        """Add the features of a batch of training images to the statistics of the head.

        Args:
            features: the dense map (B, D, h, w), and the features in `needs`.
            text: the text tower.
        """

    def finish_calibration(self) -> None:
        """Use the statistics that `calibrate` gathered."""

    def forward(self, features: ImageFeatures, text: TextEncoder) -> Coarse:
        """Return the depth of a batch of images.

        Args:
            features: the dense map (B, D, h, w), and what `needs` names.
            text: the text tower, for heads with sentences.

        Returns:
            Depth (B, 1, h, w) in metres, with h and w of the head's choice, and logits and bins if it has them.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement forward(features, text)")


class Preparable(Protocol):
    """A head, or a part that several heads may share, which depends on the text tower."""

    prepared: bool

    def prepare(self, text: TextEncoder) -> None:
        """Create what depends on the text tower."""


def prepare_once(module: Preparable, text: TextEncoder) -> None:
    """Call `prepare` unless it was called before, so that a trained head keeps its parameters in another model."""
    if not module.prepared:
        module.prepare(text)
        module.prepared = True


def unprepared(module: nn.Module) -> RuntimeError:
    """Return the error of a module that runs before `prepare` was called."""
    return RuntimeError(f"{type(module).__name__} is not prepared; call prepare(text) before forward")
