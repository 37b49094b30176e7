"""The words of a tokenizer's vocabulary, and the features of long lists of words."""

from collections.abc import Callable, Sequence

import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor
from torch.nn import functional as F

from depthclip.checks import brief
from depthclip.encoder.interfaces import TextEncoder
from depthclip.encoder.text import FrozenText
from depthclip.errors import InputError

WORDS_PER_BATCH = 256
END, START = "</w>", "▁"  # marks of a token that ends a word (CLIP's BPE), or starts a word (SentencePiece)


def vocabulary_of(text: TextEncoder) -> list[str]:
    """Return the words of a tokenizer's vocabulary, lower-case and of at least two letters, in the order of their ids.

    The merges of byte-pair encoding are ordered by frequency, so that the first words are the most common ones. The
    list also holds some pieces of longer words, such as "ing", because a vocabulary does not mark them.

    Args:
        text: the text encoder.

    Raises:
        InputError: if the encoder has no tokenizer whose vocabulary marks words.
    """
    tokenizer = text.tokenizer if isinstance(text, FrozenText) else None
    ids: dict[str, int] = {}
    if isinstance(tokenizer, SimpleTokenizer):
        ids = tokenizer.encoder
    elif isinstance(tokenizer, HFTokenizer):
        ids = tokenizer.tokenizer.get_vocab()
    words = list(dict.fromkeys(filter(None, map(word_of, sorted(ids, key=ids.__getitem__)))))
    if not words:
        raise InputError(
            f"the tokenizer {type(tokenizer or text).__name__} has no vocabulary that marks whole words with {END} or "
            f"{START}; use --words FILE with a word per line"
        )
    return words


def word_of(token: str) -> str:
    """Return the word of a token, or "" if the token is not marked as a word, not lower-case, or not of letters."""
    if token.endswith(END) and token.isascii():  # other characters are bytes of UTF-8 in disguise
        word = token.removesuffix(END)
    else:
        word = token.removeprefix(START) if token.startswith(START) else ""
    return word if len(word) > 1 and word.isalpha() and word == word.lower() else ""


@torch.no_grad()
def encode_words(text: TextEncoder, words: Sequence[str], sentences: Callable[[str], Sequence[str]]) -> Tensor:
    """Return the features of words, (W, D) of unit length, on the CPU: the normalized means over their sentences.

    The words are encoded in batches. Unlike `TextEncoder.encode`, no sentence is remembered, so that the memory does
    not grow with the number of words beyond their features.

    Args:
        text: the text encoder.
        words: W words.
        sentences: function that returns the sentences of a word, such as `Prompts.sentences`.

    Raises:
        InputError: if the tokenizer has no token for a word, or a sentence is longer than the tower's context.
    """
    features = []
    for start in range(0, len(words), WORDS_PER_BATCH):
        batch = words[start : start + WORDS_PER_BATCH]
        check_tokens(text, batch)
        groups = [list(sentences(word)) for word in batch]
        flat = [sentence for group in groups for sentence in group]
        if isinstance(text, FrozenText):
            encoded = text.encode_anew(flat)
        else:
            parts = range(0, len(flat), WORDS_PER_BATCH)
            encoded = torch.cat([text.encode(flat[k : k + WORDS_PER_BATCH]) for k in parts])
        means = torch.stack([group.mean(0) for group in encoded.split([len(group) for group in groups])])
        features.append(F.normalize(means, dim=-1).cpu())
    return torch.cat(features)


def check_tokens(text: TextEncoder, words: Sequence[str]) -> None:
    """Raise unless a tokenizer has tokens for all words.

    Raises:
        InputError: if the tokenizer drops a word as a whole.
    """
    if not isinstance(text, FrozenText):
        return
    ids = text.tokenizer(["", *words])
    empty = (ids[1:] == ids[0]).all(1)
    if empty.any():
        word = words[int(empty.int().argmax())]
        raise InputError(f"words has {brief(word)}, for which the tokenizer has no token; remove it from the list")
