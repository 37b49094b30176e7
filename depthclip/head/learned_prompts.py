"""Learned prompts: sentences with blanks that learned vectors fill, run through the frozen text tower.

A template says where the vectors go: `{context:4}` is four vectors that stand for no word of the language, and in
`LearnedWords` `{distance:2}` is two vectors in place of a distance word. The tower stays as it is and passes the
gradients on.
"""

import string
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from depthclip.checks import brief, check_count
from depthclip.encoder.interfaces import TextEncoder, TokenEmbeddings
from depthclip.errors import InputError
from depthclip.head.adapter import zero_ended
from depthclip.head.bins import MOST_BINS
from depthclip.head.interfaces import unprepared
from depthclip.head.prompts import Prompts, centre, check_text
from depthclip.head.word_order import check_distinct

# Each is one token to any tokenizer. Where a sentence written with the one differs from it written with the other,
# there is a blank.
MARK, OTHER = "x", "y"
MOST_VECTORS = 1000  # in a sentence: far beyond the context of any text tower


class Blank:
    """Fills a field of a template with a mark, as often as the field says: `{context:3}` becomes `x x x`."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __format__(self, times: str) -> str:
        return " ".join([self.mark] * int(times or 1))


class LearnedPrompts(Prompts):
    """What learned prompts share: K sentences with blanks, encoded anew whenever a gradient is wanted.

    Without gradients the features are remembered until a parameter changes.

    Args:
        words: K distance words, or the name of a set; mere labels where the words themselves are learned.
        template: a sentence with `{distance}`, and `{context:M}` where M learned vectors go, as many times as you like.
        centred: whether the mean over words is taken away, as `Prompts` does.

    Raises:
        InputError: if the words or the template cannot be used.
    """

    fields = ("distance", "context")
    counted: ClassVar[tuple[str, ...]] = ("context",)
    frame: Tensor | None  # (K, L, W), the embedded sentences
    ends: Tensor  # (K,), where each is read out
    context_at: Tensor  # (K, L), the blanks for context
    word_at: Tensor  # (K, L), the blanks for learned words

    def __init__(self, words: Sequence[str] | str, template: str, centred: bool) -> None:
        super().__init__(words, (template,), centred=centred)
        self.template = template
        self.context_length = count_blanks(template, "context")
        self.word_length = 0
        self.known: tuple[list[Tensor], Tensor] | None = None
        for name in ("frame", "ends", "context_at", "word_at"):
            self.register_buffer(name, None, persistent=False)

    def write(self, context: str, word: str) -> list[str]:
        """The K sentences, with one mark in the blanks for context and one in those for learned words."""
        return [self.template.format(context=Blank(context), distance=name) for name in self.words]

    def create(self, text: TextEncoder) -> None:
        """Create the parameters, vectors of W = text.width numbers."""
        raise NotImplementedError

    def encode(self, text: TextEncoder, pooled: Tensor | None) -> Tensor:
        """Features of the sentences with their blanks filled, (K, D) or (B, K, D)."""
        raise NotImplementedError

    def prepare(self, text: TextEncoder) -> None:
        """Embed the sentences, find their blanks and create the parameters.

        Raises:
            InputError: if the text tower cannot be run from embeddings, a sentence is too long for it, or two words are
                the same to it.
        """
        try:
            frame, self.ends = text.embed(self.write(MARK, MARK))
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
        """Features of the filled sentences, (N, D), from context (N, M, W) and words (N, T, W), N a multiple of K."""
        assert self.frame is not None
        times = len(context) // len(self.frame)
        values = self.frame.repeat(times, 1, 1)
        values = values.masked_scatter(self.context_at.repeat(times, 1)[..., None], context)
        values = values.masked_scatter(self.word_at.repeat(times, 1)[..., None], words)
        return text.encode_embeddings(TokenEmbeddings(values, self.ends.repeat(times)))

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Text features of the K words, (K, D), or (B, K, D) where they look at the image's pooled (B, D)."""
        if self.frame is None:
            raise unprepared(self)
        if torch.is_grad_enabled() or self.needs_pooled:
            features = self.encode(text, pooled)
            return centre(features) if self.centred else features
        learned = [parameter.detach() for parameter in self.parameters()]
        if self.known is None or not all(map(same, self.known[0], learned)):
            features = self.encode(text, pooled)
            self.known = [p.clone() for p in learned], centre(features) if self.centred else features
        return self.known[1]


class LearnedContext(LearnedPrompts):
    """CoOp: the words stay, the vectors around them are learned (arXiv 2109.01134).

    CoOp's own are 16 vectors before the word, or 8 before and 8 after it (`{context:8} {distance} {context:8}.`), drawn
    from N(0, 0.02). Auty and Mikolajczyk's "1o2d" (ICCV Workshops 2023) is `{context:1} object {context:2} {distance}`.

    Args:
        words: K distance words, or the name of a set (see `Prompts`).
        template: a sentence with `{distance}`, and `{context:M}` where M learned vectors go.
        phrase: what the vectors start as, as many tokens as the template has vectors (`a photo of a` for four); null
            for random ones.
        per_word: whether each word has a context of its own ("class-specific" in CoOp) rather than all the same.
        centred: whether the mean over words is taken away, as `Prompts` does.

    Raises:
        InputError: if the template has no `{context}` or cannot be filled, or (from `prepare`) the phrase does not fit
            it.
    """

    context: nn.Parameter | None  # (M, W), or (K, M, W) per word

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
            raise InputError(
                f"template {brief(template)} has nothing to learn; use {{context:4}} in it for four learned vectors"
            )
        if phrase is not None:
            check_text("phrase", phrase)
        self.phrase = phrase
        self.per_word = per_word
        self.register_parameter("context", None)

    def create(self, text: TextEncoder) -> None:
        """Draws the context, or takes it from the phrase."""
        start = random_vectors(self.context_length, text.width)
        if self.phrase is not None:
            start = embed_phrase(text, self.phrase, self.context_length)
        if self.per_word and self.phrase is None:
            start = random_vectors(len(self.words), self.context_length, text.width)
        elif self.per_word:
            start = start.repeat(len(self.words), 1, 1)
        self.context = nn.Parameter(start.to(self.context_at.device))

    def encode(self, text: TextEncoder, pooled: Tensor | None) -> Tensor:
        """Features of the words in their context, (K, D)."""
        assert self.context is not None
        context = self.context.expand(len(self.words), -1, -1)
        return self.fill(text, context, context[:, :0])


class ConditionalContext(LearnedContext):
    """CoCoOp: a small network shifts the context by what the whole image shows (arXiv 2203.05557).

    context_m(image) = context_m + net(pooled), with net two layers and a sixteenth of D (at least 8) between them. Its
    last layer starts at zero, so that it starts as `LearnedContext`. Every image has its own sentences, which costs B
    times the text tower.

    Args:
        words: K distance words, or the name of a set (see `Prompts`).
        template: a sentence with `{distance}`, and `{context:M}` where M learned vectors go.
        phrase: what the vectors start as, as many tokens as the template has vectors; null for random ones.
        centred: whether the mean over words is taken away, as `Prompts` does.

    Raises:
        InputError: as `LearnedContext`.
    """

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

    @property
    def needs_pooled(self) -> bool:
        """Whether the prompts look at the image's pooled feature: always."""
        return True

    def create(self, text: TextEncoder) -> None:
        """Creates the context and the network that shifts it."""
        super().create(text)
        self.net = zero_ended(text.dim, max(8, text.dim // 16), text.width).to(self.context_at.device)

    def encode(self, text: TextEncoder, pooled: Tensor | None) -> Tensor:
        """Features of the words in the context of each image, (B, K, D)."""
        assert self.context is not None
        assert self.net is not None
        assert pooled is not None
        shifted = self.context + self.net(pooled)[:, None]
        context = shifted.repeat_interleave(len(self.words), 0)
        return self.fill(text, context, context[:, :0]).unflatten(0, (len(pooled), -1))


class LearnedWords(LearnedPrompts):
    """The distance words themselves are learned, one for each bin (Auty and Mikolajczyk, ICCV Workshops 2023).

    Theirs is one vector a word, drawn from N(0, 0.02), in the sentence "This object appears to be {distance}"; with
    learned context too, "1o1d" is `{context:1} object {context:1} {distance}` and "4o4d" has four where that has one.

    Args:
        count: number of words, one for each bin, from 2 to 10,000.
        template: a sentence with `{distance}`, or `{distance:T}` for T vectors a word, and `{context:M}` where M
            vectors that all sentences share are to be learned too.
        centred: whether the mean over words is taken away, as `Prompts` does.

    Raises:
        InputError: if the count is out of its range or the template cannot be filled.
    """

    counted = ("context", "distance")
    tokens: nn.Parameter | None  # (K, T, W)
    context: nn.Parameter | None  # (M, W)

    def __init__(
        self, count: int = 7, template: str = "This object appears to be {distance}", centred: bool = False
    ) -> None:
        check_count("count", count, at_least=2, at_most=MOST_BINS, unit="words", hint="give one for each bin")
        super().__init__([f"word {k + 1}" for k in range(count)], template, centred)
        self.word_length = count_blanks(template, "distance")
        self.register_parameter("tokens", None)
        self.register_parameter("context", None)

    def write(self, context: str, word: str) -> list[str]:
        """The same sentence K times, with marks in its blanks."""
        return [self.template.format(context=Blank(context), distance=Blank(word))] * len(self.words)

    def create(self, text: TextEncoder) -> None:
        """Draws the words, and the context if the template has one."""
        device = self.word_at.device
        self.tokens = nn.Parameter(random_vectors(len(self.words), self.word_length, text.width).to(device))
        if self.context_length:
            self.context = nn.Parameter(random_vectors(self.context_length, text.width).to(device))

    def encode(self, text: TextEncoder, pooled: Tensor | None) -> Tensor:
        """Features of the learned words, (K, D)."""
        assert self.tokens is not None
        context = self.tokens[:, :0] if self.context is None else self.context.expand(len(self.words), -1, -1)
        return self.fill(text, context, self.tokens)


class LearnedTokens(LearnedWords):
    """A learned matrix of tokens in place of any sentence, one for each bin.

    After the mirror of CLIP2Depth (arXiv 2402.03251), which has a single one of 64 tokens and a decoder behind it; here
    each bin has its own, and DepthCLIP's equation turns their features into depth.

    Args:
        count: number of matrices, one for each bin, from 2 to 10,000.
        tokens: number of token vectors of each, from 1 to the context of the text tower; 64 of them cost the tower
            eight times a short sentence.
        centred: whether the mean over the bins is taken away, as `Prompts` does.

    Raises:
        InputError: if count or tokens is out of its range, or (from `prepare`) the tower takes fewer tokens.
    """

    def __init__(self, count: int = 7, tokens: int = 64, centred: bool = False) -> None:
        check_count("tokens", tokens, at_most=MOST_VECTORS, unit="vectors")
        super().__init__(count, f"{{distance:{tokens}}}", centred)


def count_blanks(template: str, field: str) -> int:
    """Return the number of vectors that a template has for a field.

    Raises:
        InputError: if it names a number of vectors that is none, or too large.
    """
    wanted = [times or "1" for _, name, times, _ in string.Formatter().parse(template) if name == field]
    if not all(times.isdecimal() and len(times) < 10 and int(times) for times in wanted):
        raise InputError(f"template {brief(template)} must say how many vectors go there, as in {{{field}:4}}")
    count = sum(int(times) for times in wanted)
    if count > MOST_VECTORS:
        raise InputError(f"template {brief(template)} must have at most {MOST_VECTORS} vectors, not {count}")
    return count


def random_vectors(*shape: int) -> Tensor:
    """Vectors from N(0, 0.02), as CLIP's own token embeddings began."""
    return 0.02 * torch.randn(*shape)


def embed_phrase(text: TextEncoder, phrase: str, length: int) -> Tensor:
    """Return the token embeddings of a phrase, (length, W).

    Raises:
        InputError: if it has more or fewer tokens.
    """
    said, blank, other = (
        text.embed([words]).values for words in (phrase, f"{Blank(MARK):{length}}", f"{Blank(OTHER):{length}}")
    )
    there = differ(blank, other)
    if said.shape != blank.shape or not torch.equal(said[~there], blank[~there]):
        raise InputError(
            f"phrase {brief(phrase)} must have {length} tokens, as many as the template has learned vectors"
        )
    return said[there]


def differ(one: Tensor, other: Tensor) -> Tensor:
    """Where two ways to write N sentences have other tokens, (N, L) bool; embeddings are (N, L, W)."""
    return (one != other).any(-1)


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal and in one place."""
    return one.device == other.device and torch.equal(one, other)
