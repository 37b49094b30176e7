"""Base class of learned prompts: templates with blanks for learned vectors, encoded by the frozen text tower.

In a template, `{context:4}` marks four learned vectors, and in `LearnedWords` `{distance:2}` marks two learned vectors
in place of a distance word. Gradients flow through the frozen tower to the vectors.
"""

import string
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from depthclip.checks import brief
from depthclip.encoder.interfaces import TextEncoder, TokenEmbeddings
from depthclip.errors import InputError
from depthclip.head.interfaces import unprepared
from depthclip.head.prompts import Prompts, centre
from depthclip.head.word_order import check_distinct

# Each is a single token for any tokenizer. The tokens in which a sentence with MARK differs from the same sentence with
# OTHER are the blanks.
MARK, OTHER = "x", "y"
MOST_VECTORS = 1000  # in a sentence: far beyond the context of any text tower


class Blank:
    """A value for a field of a template that repeats a mark: `{context:3}` becomes `x x x`."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __format__(self, times: str) -> str:
        return " ".join([self.mark] * int(times or 1))


class LearnedPrompts(Prompts, ABC):
    """Base class of prompts with learned vectors in K sentences.

    A subclass implements `create` and `encode`. While gradients are enabled the sentences are encoded in every call;
    otherwise their features are cached until a parameter changes.

    Args:
        words: K distance words, or the name of a set; only labels if the words themselves are learned.
        template: a sentence with `{distance}`, and any number of `{context:M}` for M learned vectors.
        centred: whether to subtract the mean over the words, as in `Prompts`.

    Raises:
        InputError: if the words or the template are not valid.
    """

    fields = ("distance", "context")
    counted: ClassVar[tuple[str, ...]] = ("context",)
    frame: Tensor | None  # (K, L, W), the embedded sentences with marks in their blanks
    ends: Tensor  # (K,), the token of each sentence that gives its feature
    mask: Tensor | None  # (K, L) bool, the tokens that are not padding, for towers that need it
    context_at: Tensor  # (K, L) bool, the blanks for context
    word_at: Tensor  # (K, L) bool, the blanks for learned words

    def __init__(self, words: Sequence[str] | str, template: str, centred: bool) -> None:
        super().__init__(words, (template,), centred=centred)
        self.template = template
        self.context_length = count_blanks(template, "context")
        self.word_length = 0
        self.cached: tuple[list[Tensor], Tensor] | None = None  # parameters, and the features they gave
        for name in ("frame", "ends", "mask", "context_at", "word_at"):
            self.register_buffer(name, None, persistent=False)

    def write(self, context: str, word: str) -> list[str]:
        """Return the K sentences with marks in their blanks.

        Args:
            context: the mark for learned context.
            word: the mark for learned words.
        """
        return [self.template.format(context=Blank(context), distance=name) for name in self.words]

    @abstractmethod
    def create(self, text: TextEncoder) -> None:
        """Create the parameters: vectors of W = `text.width` numbers, as many as there are blanks."""

    @abstractmethod
    def encode(self, text: TextEncoder, pooled: Tensor | None) -> Tensor:
        """Return the features of the sentences with filled blanks, (K, D) or (B, K, D)."""

    def prepare(self, text: TextEncoder) -> None:
        """Embed the sentences, find their blanks and create the parameters.

        Raises:
            InputError: if the text tower cannot be run from embeddings, a sentence is too long for it, or two words
                have the same tokens.
        """
        try:
            frame, self.ends, self.mask = text.embed(self.write(MARK, MARK))
            self.context_at = differ(frame, text.embed(self.write(OTHER, MARK)).values)
            self.word_at = differ(frame, text.embed(self.write(MARK, OTHER)).values)
        except InputError as error:
            raise InputError(f"template {brief(self.template)}: {error}") from error
        for at, length in ((self.context_at, self.context_length), (self.word_at, self.word_length)):
            if (at.sum(1) != length).any():
                raise InputError(
                    f"template {brief(self.template)} does not leave {length} tokens free for learned vectors with "
                    "this tokenizer; separate its fields from other letters by spaces"
                )
        if not self.word_length:
            check_distinct("words", self.words, frame, f"template {brief(self.template)}")
        self.create(text)
        self.frame = frame

    def fill(self, text: TextEncoder, context: Tensor, words: Tensor) -> Tensor:
        """Return the features of the sentences with these vectors in their blanks, (N, D).

        Args:
            text: the text tower.
            context: (N, M, W), the vectors for context, with N a multiple of K.
            words: (N, T, W), the vectors for learned words.
        """
        assert self.frame is not None
        times = len(context) // len(self.frame)
        values = self.frame.repeat(times, 1, 1)
        values = values.masked_scatter(self.context_at.repeat(times, 1)[..., None], context)
        values = values.masked_scatter(self.word_at.repeat(times, 1)[..., None], words)
        mask = None if self.mask is None else self.mask.repeat(times, 1)
        return text.encode_embeddings(TokenEmbeddings(values, self.ends.repeat(times), mask))

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Return the text features of the words, (K, D), or (B, K, D) if they depend on pooled features (B, D)."""
        if self.frame is None:
            raise unprepared(self)
        if torch.is_grad_enabled() or self.needs_pooled:
            features = self.encode(text, pooled)
            return centre(features) if self.centred else features
        learned = [parameter.detach() for parameter in self.parameters()]
        if self.cached is None or not all(map(same, self.cached[0], learned)):
            features = self.encode(text, pooled)
            self.cached = [p.clone() for p in learned], centre(features) if self.centred else features
        return self.cached[1]


def count_blanks(template: str, field: str) -> int:
    """Return the number of learned vectors that a template has for a field.

    Raises:
        InputError: if a number of vectors is not a positive integer, or their sum is too large.
    """
    numbers = [times or "1" for _, name, times, _ in string.Formatter().parse(template) if name == field]
    if not all(times.isdecimal() and len(times) < 10 and int(times) for times in numbers):
        raise InputError(f"template {brief(template)} must give a number of learned vectors, as in {{{field}:4}}")
    count = sum(int(times) for times in numbers)
    if count > MOST_VECTORS:
        raise InputError(f"template {brief(template)} must have at most {MOST_VECTORS} vectors, not {count}")
    return count


def random_vectors(*shape: int) -> Tensor:
    """Return random vectors from N(0, 0.02), the distribution of CLIP's initial token embeddings."""
    return 0.02 * torch.randn(*shape)


def differ(first: Tensor, second: Tensor) -> Tensor:
    """Return the tokens in which two versions of N embedded sentences (N, L, W) differ, (N, L) bool."""
    return (first != second).any(-1)


def same(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors are equal and on the same device."""
    return first.device == second.device and torch.equal(first, second)
