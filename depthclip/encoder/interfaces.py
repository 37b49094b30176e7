"""The types that pass between the frozen encoder and the depth heads; all that a head knows of an encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Needs:
    """Features that a head reads beside the dense map; `a | b` is what two heads need together.

    Args:
        pooled: whether the feature of the whole image is needed.
        layers: block indices of the intermediate maps, as timm's `indices`; negative ones count from the end.
    """

    pooled: bool = False
    layers: tuple[int, ...] = ()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(self.pooled or other.pooled, tuple(dict.fromkeys((*self.layers, *other.layers))))


class ImageFeatures(NamedTuple):
    """Features of a batch of images.

    Args:
        dense: (B, D, h, w), one feature for each patch, scaled as the readout says (unit length unless it says
            otherwise).
        pooled: (B, D), unit length, one feature for each image, as open_clip's `encode_image(normalize=True)` computes
            it; None unless a head needs it.
        layers: (B, C_l, h_l, w_l) for each intermediate map that a head needs, in the order of `Needs.layers`.
    """

    dense: Tensor
    pooled: Tensor | None = None
    layers: tuple[Tensor, ...] = ()

    def select(self, computed: Needs, needs: Needs) -> "ImageFeatures":
        """Return the features that a head needs, with its layers in its order.

        Args:
            computed: needs for which these features were computed.
            needs: needs of the head, which are part of them.
        """
        layers = tuple(self.layers[computed.layers.index(layer)] for layer in needs.layers)
        return ImageFeatures(self.dense, self.pooled if needs.pooled else None, layers)


class TokenEmbeddings(NamedTuple):
    """Sentences as sequences of token embeddings, before positions are added.

    Args:
        values: (N, L, W), one vector for each token.
        ends: (N,), the index of the token at which each sentence is read out.
    """

    values: Tensor
    ends: Tensor


class TextEncoder(Protocol):
    """The part of the frozen text tower that heads may use."""

    @property
    def logit_scale(self) -> float:
        """The learned factor of the similarities, exp(logit_scale)."""

    @property
    def dim(self) -> int:
        """D, the size of the joint space of images and sentences."""

    @property
    def width(self) -> int:
        """W, the size of a token embedding.

        Raises:
            InputError: if the text tower cannot be run from embeddings.
        """

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the features of N sentences, (N, D), unit length, without gradients."""

    def embed(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Return the token embeddings of N sentences, for a prompt learner to change."""

    def encode_embeddings(self, embeddings: TokenEmbeddings) -> Tensor:
        """Return the features of N embedded sentences, (N, D), unit length; gradients flow to the embeddings."""
