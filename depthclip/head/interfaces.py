"""The contract of a head: image features and a text tower in, depth in metres out. Words and bins are optional."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder


class Coarse(NamedTuple):
    """The output of a head for a batch of images, at the resolution of the patches or any other.

    Args:
        depth: (B, 1, h, w) metres.
        logits: (B, K, h, w), the logit of each word; None for a head without words.
        bins: (K,) or (B, K) metres; None for a head without bins.
    """

    depth: Tensor
    logits: Tensor | None = None
    bins: Tensor | None = None

    @property
    def weights(self) -> Tensor | None:
        """The weight of each word, softmax of the logits, (B, K, h, w); None without words."""
        return None if self.logits is None else self.logits.softmax(1)

    def image(self, k: int) -> "Coarse":
        """Return the output for image `k` of the batch, as a batch of one."""
        logits, bins = self.logits, self.bins
        return Coarse(
            self.depth[k : k + 1],
            None if logits is None else logits[k : k + 1],
            bins if bins is None or bins.ndim == 1 else bins[k : k + 1],
        )


class Head(nn.Module):
    """Base class of heads, which turn the features of images into depth.

    A subclass overrides `forward`, and the rest where it applies. It may use lazy modules such as `nn.LazyConv2d`:
    `DepthCLIP` runs them once, on a blank image, before an optimizer reads the parameters.

    Attributes:
        needs: features that the head reads beside the dense map.
        labels: names of the K words, in the order of the logits; () for a head without words.
    """

    needs: Needs = Needs()
    labels: tuple[str, ...] = ()
    prepared = False  # set by `prepare_once`

    @property
    def needs_depths(self) -> bool:
        """Whether the head must be fitted to training depths before its first `forward`."""
        return False

    def prepare(self, text: TextEncoder) -> None:
        """Encode fixed sentences and create parameters whose size depends on the text tower.

        `DepthCLIP` calls this once, before an optimizer reads the parameters.
        """

    def update(self, depth: Tensor, scene: str) -> None:
        """Add a training image to the statistics to which the head is fitted.

        Args:
            depth: (H, W) metres, 0 = invalid.
            scene: scene of the image, "" where the data set names none.
        """

    def compute(self) -> None:
        """Fit the head to the statistics."""

    def fit(self, depths: Iterable[tuple[Tensor, str]]) -> None:
        """Fit the head to depths and scenes of training images, see `update`."""
        for depth, scene in depths:
            self.update(depth, scene)
        self.compute()

    def forward(self, features: ImageFeatures, text: TextEncoder) -> Coarse:
        """Return the depth of a batch of images.

        Args:
            features: dense features (B, D, h, w), and those that the head needs.
            text: the frozen text tower.
        """
        raise NotImplementedError


class Preparable(Protocol):
    """A head, or a part of heads, that is prepared for a text tower."""

    prepared: bool

    def prepare(self, text: TextEncoder) -> None:
        """Encode fixed sentences and create parameters."""


def prepare_once(module: Preparable, text: TextEncoder) -> None:
    """Call `prepare` of a head or of a part that heads may share, unless it was called before.

    A head that was trained in one model can thus be scored as a variant in another.
    """
    if not module.prepared:
        module.prepare(text)
        module.prepared = True
