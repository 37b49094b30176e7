"""Prompts with learned context around fixed distance words: CoOp and CoCoOp."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depthclip.checks import brief
from depthclip.encoder.interfaces import TextEncoder
from depthclip.errors import InputError
from depthclip.head.layers import zero_initialized
from depthclip.head.learned_prompts import MARK, OTHER, Blank, LearnedPrompts, differ, random_vectors
from depthclip.head.prompts import check_text


class LearnedContext(LearnedPrompts):
    """CoOp: fixed distance words in learned context (arXiv 2109.01134).

    CoOp uses 16 vectors before the word, or 8 before and 8 after it (`{context:8} {distance} {context:8}.`), and
    initializes them from N(0, 0.02). The prompt "1o2d" of Auty and Mikolajczyk (ICCV Workshops 2023) is
    `{context:1} object {context:2} {distance}`.

    Args:
        words: K distance words, or the name of a set (see `Prompts`).
        template: a sentence with `{distance}`, and any number of `{context:M}` for M learned vectors.
        phrase: text whose token embeddings initialize the vectors, with as many tokens as the template has vectors
            (`a photo of a` for four); null for random vectors.
        per_word: whether each word has separate context ("class-specific" in CoOp).
        centred: whether to subtract the mean over the words, as in `Prompts`.

    Raises:
        InputError: if the template has no `{context}` or is not valid, or (from `prepare`) the phrase has another
            number of tokens.
    """

    context: nn.Parameter | None  # (M, W), or (K, M, W) if per_word

    def __init__(
        self,
        words: Sequence[str] | str = "depthclip",
        template: str = "{context:16} {distance}.",
        phrase: str | None = None,
        per_word: bool = False,
        centred: bool = False,
    ) -> None:
        super().__init__(words, template, centred)
        if not self.context_length:
            raise InputError(f"template {brief(template)} has no learned vectors; add {{context:4}} for four")
        if phrase is not None:
            check_text("phrase", phrase)
        self.phrase = phrase
        self.per_word = per_word
        self.register_parameter("context", None)

    def create(self, text: TextEncoder) -> None:
        """Create the context from the phrase or at random."""
        start = random_vectors(self.context_length, text.width)
        if self.phrase is not None:
            start = embed_phrase(text, self.phrase, self.context_length)
        if self.per_word and self.phrase is None:
            start = random_vectors(len(self.words), self.context_length, text.width)
        elif self.per_word:
            start = start.repeat(len(self.words), 1, 1)
        self.context = nn.Parameter(start.to(self.context_at.device))

    def encode(self, text: TextEncoder, pooled: Tensor | None) -> Tensor:
        """Return the features of the words in their context, (K, D)."""
        assert self.context is not None
        context = self.context.expand(len(self.words), -1, -1)
        return self.fill(text, context, context[:, :0])


class ConditionalContext(LearnedContext):
    """CoCoOp: learned context that a small network shifts for each image (arXiv 2203.05557).

    context_m(image) = context_m + net(pooled). The network has two layers with D / 16 hidden units (at least 8), and
    its output starts at zero, which is `LearnedContext`. The text tower encodes K sentences for every image of a batch.

    Args:
        words: K distance words, or the name of a set (see `Prompts`).
        template: a sentence with `{distance}`, and any number of `{context:M}` for M learned vectors.
        phrase: text whose token embeddings initialize the vectors, with as many tokens as the template has vectors;
            null for random vectors.
        centred: whether to subtract the mean over the words, as in `Prompts`.

    Raises:
        InputError: as `LearnedContext`.
    """

    needs_pooled = True
    net: nn.Module | None

    def __init__(
        self,
        words: Sequence[str] | str = "depthclip",
        template: str = "{context:4} {distance}.",
        phrase: str | None = "a photo of a",
        centred: bool = False,
    ) -> None:
        super().__init__(words, template, phrase, per_word=False, centred=centred)
        self.register_module("net", None)

    def create(self, text: TextEncoder) -> None:
        """Create the context and the network."""
        super().create(text)
        self.net = zero_initialized(text.dim, max(8, text.dim // 16), text.width).to(self.context_at.device)

    def encode(self, text: TextEncoder, pooled: Tensor | None) -> Tensor:
        """Return the features of the words in the context of each image, (B, K, D)."""
        assert self.context is not None
        assert self.net is not None
        assert pooled is not None
        shifted = self.context + self.net(pooled)[:, None]
        context = shifted.repeat_interleave(len(self.words), 0)
        return self.fill(text, context, context[:, :0]).unflatten(0, (len(pooled), -1))


def embed_phrase(text: TextEncoder, phrase: str, length: int) -> Tensor:
    """Return the token embeddings of a phrase, (length, W).

    Raises:
        InputError: if the phrase has another number of tokens.
    """
    embedded, blank, other = (
        text.embed([sentence]).values for sentence in (phrase, f"{Blank(MARK):{length}}", f"{Blank(OTHER):{length}}")
    )
    free = differ(blank, other)
    if embedded.shape != blank.shape or not torch.equal(embedded[~free], blank[~free]):
        raise InputError(
            f"phrase {brief(phrase)} must have {length} tokens, as many as the template has learned vectors"
        )
    return embedded[free]
