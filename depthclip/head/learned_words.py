"""Prompts whose distance words, or all of whose tokens, are learned."""

from torch import Tensor, nn

from depthclip.checks import check_count
from depthclip.encoder.interfaces import TextEncoder
from depthclip.head.bins import MOST_BINS
from depthclip.head.learned_prompts import MOST_VECTORS, Blank, LearnedPrompts, count_blanks, random_vectors


class LearnedWords(LearnedPrompts):
    """Learned distance words, one for each bin (Auty and Mikolajczyk, ICCV Workshops 2023).

    The paper uses one vector per word, initialized from N(0, 0.02), in the sentence "This object appears to be
    {distance}". Its prompts with learned context are `{context:1} object {context:1} {distance}` ("1o1d") and
    `{context:4} object {context:4} {distance}` ("4o4d").

    Args:
        count: K, the number of words, one for each bin, from 2 to 10,000.
        template: a sentence with `{distance}`, or `{distance:T}` for T vectors per word, and optionally `{context:M}`
            for M learned vectors that all words share.
        centred: whether to subtract the mean over the words, as in `Prompts`.

    Raises:
        InputError: if the count is out of its range or the template is not valid.
    """

    counted = ("context", "distance")
    learned: int  # the number of words with learned vectors, K unless a subclass derives the words from fewer
    tokens: nn.Parameter | None  # (K, T, W)
    context: nn.Parameter | None  # (M, W)

    def __init__(
        self, count: int = 7, template: str = "This object appears to be {distance}", centred: bool = False
    ) -> None:
        check_count("count", count, at_least=2, at_most=MOST_BINS, unit="words", hint="give one for each bin")
        super().__init__([f"word {k + 1}" for k in range(count)], template, centred)
        self.word_length = count_blanks(template, "distance")
        self.learned = count
        self.register_parameter("tokens", None)
        self.register_parameter("context", None)

    def write(self, context: str, word: str) -> list[str]:
        """Return the same sentence K times, with marks in its blanks."""
        return [self.template.format(context=Blank(context), distance=Blank(word))] * len(self.words)

    def create(self, text: TextEncoder) -> None:
        """Create the words at random, and the context if the template has any."""
        device = self.word_at.device
        self.tokens = nn.Parameter(random_vectors(self.learned, self.word_length, text.width).to(device))
        if self.context_length:
            self.context = nn.Parameter(random_vectors(self.context_length, text.width).to(device))

    def vectors(self) -> Tensor:
        """Return the vectors of the words, (K, T, W)."""
        assert self.tokens is not None
        return self.tokens

    def encode(self, text: TextEncoder, pooled: Tensor | None) -> Tensor:
        """Return the features of the learned words, (K, D)."""
        words = self.vectors()
        context = words[:, :0] if self.context is None else self.context.expand(len(words), -1, -1)
        return self.fill(text, context, words)


class LearnedTokens(LearnedWords):
    """Learned tokens in place of a whole sentence, one sequence for each bin.

    Adapted from the learned "mirror" of CLIP2Depth (arXiv 2402.03251), a single sequence of 64 tokens followed by a
    decoder. Here each bin has a sequence, and `DepthHead` compares its feature with the patches.

    Args:
        count: K, the number of sequences, one for each bin, from 2 to 10,000.
        tokens: number of token vectors in a sequence, from 1 to the context of the text tower; 64 tokens take about
            eight times as long to encode as a short sentence.
        centred: whether to subtract the mean over the bins, as in `Prompts`.

    Raises:
        InputError: if count or tokens is out of its range, or (from `prepare`) the context of the tower is shorter.
    """

    def __init__(self, count: int = 7, tokens: int = 64, centred: bool = False) -> None:
        check_count("tokens", tokens, at_most=MOST_VECTORS, unit="vectors")
        super().__init__(count, f"{{distance:{tokens}}}", centred)
