"""The contract of a depth head: features of an image to coarse depth in metres. Words and bins are optional."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor, nn

from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder


class Coarse(NamedTuple):
    """Depth of each patch.

    Args:
        depth: (B, 1, h, w) metres.
        logits: (B, K, h, w), the response of each word; None for a head without words.
        bins: (K,) or (B, K) metres; None for a head without bins.
    """

    depth: Tensor
    logits: Tensor | None = None
    bins: Tensor | None = None


class Head(nn.Module):
    """Turns the features of an image into depth; `DepthHead` is the paper's.

    A head of your own overrides `forward`, and the rest where it has something to say there. Parameters may be created
    in the constructor, or in `prepare` where their size depends on the text tower.
    """

    @property
    def needs(self) -> Needs:
        """Features that the head reads beside the dense map."""
        return Needs()

    @property
    def labels(self) -> tuple[str, ...]:
        """A short name for each of the K logits, for tables and pictures; empty for a head without words."""
        return ()

    @property
    def needs_depths(self) -> bool:
        """Whether `fit` must be called with training depths before the head can be used."""
        return False

    def prepare(self, text: TextEncoder) -> None:
        """Do what requires the text tower: encode sentences, create parameters.

        `DepthCLIP` calls it once, before an optimizer reads the parameters.
        """

    def fit(self, depths: Iterable[tuple[Tensor, str]]) -> None:
        """Fit what depends on the depths of the training set.

        Args:
            depths: depth map (H, W) in metres, 0 = invalid, and scene of each training image.
        """

    def forward(self, features: ImageFeatures, text: TextEncoder) -> Coarse:
        """Return the coarse depth of a batch of images.

        Args:
            features: what the encoder computed for `needs`.
            text: the frozen text tower.
        """
        raise NotImplementedError
