"""The contract between DepthCLIP and the frozen encoders of images and sentences."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder, TokenEmbeddings
from depthclip.errors import InputError

NOTHING = Needs()


class Encoder(nn.Module):
    """Base class of frozen encoders that map images and sentences to a joint space.

    A subclass sets `text` in its constructor and defines `encode_image`. A recipe selects it by `class_path`. DepthCLIP
    freezes its parameters, and it stays in eval mode when its parent is set to training mode.

    Attributes:
        name: name of the encoder, which checkpoints keep; the name of the class unless the constructor sets another.
        text: the text encoder.
    """

    text: TextEncoder

    def __init__(self) -> None:
        super().__init__()
        self.name = type(self).__name__

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in eval mode, so that batch statistics stay frozen too."""
        return super().train(False)

    @property
    def weights(self) -> nn.Module:
        """The module whose parameters identify the encoder in checkpoints and caches."""
        return self

    @property
    def settings(self) -> dict[str, object]:
        """The settings and modules that determine the features besides the weights, by name, for the feature cache.

        If they are empty, features are cached in memory only.
        """
        return {}

    def check(self, needs: Needs) -> None:
        """Check that the encoder computes the features that heads need; DepthCLIP calls it before the first image.

        Raises:
            InputError: if it does not.
        """

    def encode_image(self, rgb: Tensor, needs: Needs = NOTHING) -> ImageFeatures:
        """Return the dense features of images, and the pooled features and intermediate maps that heads need.

        Args:
            rgb: (B, 3, H, W) in [0, 1], of any height and width.
            needs: the features to compute besides the dense ones.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement encode_image(rgb, needs)")


class SentenceEncoder(TextEncoder):
    """A `TextEncoder` from a function that encodes sentences; vectors inside of sentences cannot be learned.

    Args:
        encode: function that returns the features of a list of N sentences, (N, D), of any length.
        logit_scale: factor by which similarities are multiplied, positive; CLIP's is 100.
    """

    def __init__(self, encode: Callable[[list[str]], Tensor], logit_scale: float) -> None:
        self._encode = encode
        self._logit_scale = logit_scale

    @property
    def logit_scale(self) -> float:
        """The factor by which similarities are multiplied."""
        return self._logit_scale

    @property
    def dim(self) -> int:
        """The dimension of the joint space of images and sentences, D."""
        return self.encode([""]).shape[-1]

    @property
    def width(self) -> int:
        """Raise an InputError, because there are no token embeddings."""
        raise self._refusal()

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the features of N sentences, (N, D), unit length, without gradients."""
        return F.normalize(self._encode(list(texts)), dim=-1)

    def embed(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Raise an InputError, because there are no token embeddings."""
        raise self._refusal()

    def encode_embeddings(self, embeddings: TokenEmbeddings) -> Tensor:
        """Raise an InputError, because there are no token embeddings."""
        raise self._refusal()

    def _refusal(self) -> InputError:
        return InputError(
            "the text tower encodes whole sentences only, not token embeddings; use fixed prompts, or define a "
            "TextEncoder with embed and encode_embeddings"
        )
