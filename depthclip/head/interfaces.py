"""The contract between DepthCLIP and the heads that turn features into metres.

`Head` is the base class of all heads. The contracts of the two parts of a `DepthHead` are `depthclip.head.Prompts` and
`depthclip.head.Bins`. Both are concrete classes, the fixed prompts and the fixed bins, so that a recipe may leave out
the class_path: `prompts: {words: five}` and `bins: {values: [1, 2, 4]}`.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder


class Coarse(NamedTuple):
    """Outputs of a head for a batch of images, at the resolution of its feature map.

    Args:
        depth: (B, 1, h, w) in metres.
        logits: (B, K, h, w), the response of each word; None for a head without words.
        bins: (K,) or (B, K) in metres; None for a head without bins.
    """

    depth: Tensor
    logits: Tensor | None = None
    bins: Tensor | None = None

    @property
    def weights(self) -> Tensor | None:
        """The softmax of the logits over the words, (B, K, h, w); None for a head without words."""
        return None if self.logits is None else self.logits.softmax(1)

    def image(self, k: int) -> "Coarse":
        """Return the outputs for image k as a batch of size 1; bins (K,) that all images share stay (K,)."""
        only = slice(k, k + 1)
        return Coarse(
            self.depth[only],
            None if self.logits is None else self.logits[only],
            self.bins if self.bins is None or self.bins.ndim == 1 else self.bins[only],
        )

    def scaled(self, factors: Tensor) -> "Coarse":
        """Return the outputs with all metres multiplied by a factor for each image, (B,); bins become (B, K)."""
        bins = None if self.bins is None else self.bins * factors[:, None]
        return self._replace(depth=self.depth * factors[:, None, None, None], bins=bins)


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
