"""The small types that pass between the frozen encoder and the depth head; all that a head knows of CLIP."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor


class ImageFeatures(NamedTuple):
    """What an encoder says of a batch of images.

    Args:
        dense: (B, D, h, w), one feature for each patch, scaled as the readout means it (unit length, save for
            `released`).
        pooled: (B, D), unit length, one feature for the whole image as open_clip's `encode_image(normalize=True)` gives
            it; None when nobody asked for it.
    """

    dense: Tensor
    pooled: Tensor | None = None


class TokenEmbeddings(NamedTuple):
    """Sentences as sequences of token embeddings, before positions are added.

    Args:
        values: (N, L, W), one vector a token.
        ends: (N,), the index of the token at which each sentence is read out.
    """

    values: Tensor
    ends: Tensor


class TextEncoder(Protocol):
    """All that a depth head may ask of the frozen text tower."""

    @property
    def logit_scale(self) -> float:
        """The factor that CLIP learned for its similarities, exp(logit_scale)."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Features of N sentences, (N, D), unit length, without gradients."""

    def embed(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Token embeddings of N sentences, to be changed by a prompt learner."""

    def encode_embeddings(self, embeddings: TokenEmbeddings) -> Tensor:
        """Features of N embedded sentences, (N, D), unit length; gradients flow to the embeddings."""
