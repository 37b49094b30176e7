"""The interface between the frozen encoder and the depth heads: heads import nothing else of the encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Needs:
    """The features that a head reads besides the dense map; `a | b` merges the needs of two heads.

    Args:
        pooled: whether the head reads the feature of the whole image.
        layers: block indices of the intermediate maps, as timm's `indices`; negative indices count from the end.
    """

    pooled: bool = False
    layers: tuple[int, ...] = ()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(self.pooled or other.pooled, tuple(dict.fromkeys((*self.layers, *other.layers))))


class ImageFeatures(NamedTuple):
    """Features of a batch of images.

    Args:
        dense: (B, D, h, w), the feature of each patch, of unit length unless the readout documents another scale.
        pooled: (B, D), the feature of each image, of unit length, equal to open_clip's `encode_image(normalize=True)`;
            None unless a head needs it.
        layers: (B, C_l, h_l, w_l), the intermediate maps that heads need, in the order of `Needs.layers`.
    """

    dense: Tensor
    pooled: Tensor | None = None
    layers: tuple[Tensor, ...] = ()

    def select(self, computed: Needs, needs: Needs) -> "ImageFeatures":
        """Return only the features that a head needs, with the layers in the order of its needs.

        Args:
            computed: the needs for which these features were computed.
            needs: the needs of the head, a subset of `computed`.
        """
        layers = tuple(self.layers[computed.layers.index(layer)] for layer in needs.layers)
        return ImageFeatures(self.dense, self.pooled if needs.pooled else None, layers)


class TokenEmbeddings(NamedTuple):
    """Sentences as sequences of token embeddings, before positions are added.

    Args:
        values: (N, L, W), the embeddings of the tokens.
        ends: (N,), the index of the token whose output is the feature of the sentence; the last token of the sentence
            for towers that pool over all tokens.
        mask: (N, L) bool, true for the tokens of the sentence and false for padding; None if the tower also attends to
            padding, or if it cannot because it is causal.
    """

    values: Tensor
    ends: Tensor
    mask: Tensor | None = None


class TextEncoder(Protocol):
    """The operations of the frozen text tower that heads may use."""

    @property
    def logit_scale(self) -> float:
        """The factor by which similarities are multiplied, exp(logit_scale)."""

    @property
    def dim(self) -> int:
        """The dimension of the joint space of images and sentences, D."""

    @property
    def width(self) -> int:
        """The dimension of a token embedding, W.

        Raises:
            InputError: if the text tower cannot be run from embeddings.
        """

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the features of N sentences, (N, D), unit length, without gradients."""

    def embed(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Return the token embeddings of N sentences, in which prompt learners replace tokens."""

    def encode_embeddings(self, embeddings: TokenEmbeddings) -> Tensor:
        """Return the features of N embedded sentences, (N, D), unit length; gradients flow to the embeddings."""
