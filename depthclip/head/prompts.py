"""Fixed prompts: sentences about distance. `Prompts` is also the base class of all prompts."""

import string
import warnings
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.checks import brief, check_choice, check_count
from depthclip.encoder.interfaces import TextEncoder
from depthclip.errors import InputError
from depthclip.head.bins import MOST_BINS
from depthclip.head.interfaces import unprepared
from depthclip.head.word_order import better_order, check_distinct

# Word sets, near to far. "depthclip" and the three after it are the paper's (arXiv 2207.01077, prompt study).
WORDS: dict[str, tuple[str, ...]] = {
    "depthclip": ("giant", "extremely close", "close", "not in distance", "a little remote", "far", "unseen"),
    "depthclip1": ("extremely close", "close", "middle", "a little far", "far", "quite far", "unseen"),
    "depthclip2": ("extremely close", "very close", "close", "a little close", "a little far", "far", "unseen"),
    "depthclip3": ("giant", "close", "a little close", "not in distance", "a bit remote", "far", "unseen"),
    "five": ("very close", "close", "medium", "far", "very far"),
}
TEMPLATE = "This {object} is {distance}"
MOST_SENTENCES = 100_000  # words x templates x objects
LONGEST = 1000  # characters of a word, an object or a template: far beyond the context of any text tower


class Prompts(nn.Module):
    """Fixed prompts, one text feature for each distance word; base class of all prompts.

    The feature of a word is the normalized mean of the unit-length features of its sentences, as in CLIP's zero-shot
    classifier: t_k = normalize(mean_s f(sentence_s(word_k))). The sentences are encoded once. Learned prompts subclass
    this class, create their parameters in `prepare`, and override `forward`.

    `prepare` raises if two words have the same feature, and warns if the order of the words does not fit ascending
    bins, see `better_order`; it never warns of the named sets.

    Args:
        words: K different distance words in the order of the bins, or the name of a set: `depthclip` (the paper's
            words), `depthclip1`, `depthclip2`, `depthclip3` (the sets of its prompt study), `five` (very close, close,
            medium, far, very far).
        templates: sentences with `{distance}`, and optionally `{object}`, no longer than the context of the text tower
            (77 tokens for most towers).
        objects: texts that replace `{object}`.
        centred: whether to subtract the mean over the words, t'_k = normalize(t_k - mean_k t_k), which keeps only what
            distinguishes the words.

    Raises:
        InputError: if a set is unknown, a list is empty, words are equal, a template has other fields or no
            `{distance}`, or (from `prepare`) a sentence is too long or two words have the same feature.

    Attributes:
        needs_pooled: whether `forward` reads the image's pooled feature; a class attribute.
    """

    prepared = False  # set by `prepare_once`
    fields: ClassVar[tuple[str, ...]] = ("distance", "object")  # allowed in templates
    counted: ClassVar[tuple[str, ...]] = ()  # fields that may have a number, as in `{context:4}`
    needs_pooled: bool = False

    def __init__(
        self,
        words: Sequence[str] | str = "depthclip",
        templates: Sequence[str] = (TEMPLATE,),
        objects: Sequence[str] = ("object",),
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.words = words_of(words)
        self.templates = texts_of("templates", templates)
        self.objects = texts_of("objects", objects)
        self.centred = centred
        sentences = len(self.words) * len(self.templates) * len(self.objects)
        check_count("words x templates x objects,", sentences, at_most=MOST_SENTENCES, unit="sentences")
        check_templates(self.templates, self.fields, self.counted)
        self.features: Tensor | None
        self.register_buffer("features", None, persistent=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """A short name for each of the K words, for tables and pictures."""
        return self.words

    def sentences(self, word: str) -> list[str]:
        """Return the different sentences with a word, over all templates and objects."""
        filled = (t.format(object=o, distance=word) for t in self.templates for o in self.objects)
        return list(dict.fromkeys(filled))

    def prepare(self, text: TextEncoder) -> None:
        """Encode the sentences; learned prompts create their parameters here.

        The head calls this method once, before an optimizer sees the parameters.

        Raises:
            InputError: if a sentence is longer than the tower's context, or two words have the same feature.
        """
        features = encode_groups(text, [self.sentences(word) for word in self.words])
        check_distinct("words", self.words, features, f"templates {brief(list(self.templates))}")
        self.check_order(features)
        self.features = centre(features) if self.centred else features

    def check_order(self, features: Tensor) -> None:
        """Warn if the order of the words does not fit ascending bins."""
        order = None if self.words in WORDS.values() else better_order(features)
        if order is not None:
            near_to_far = [self.words[k] for k in order]
            warnings.warn(
                f"the order of the words {brief(list(self.words))} does not fit ascending bins: neighbours are less "
                f"similar than distant words; check that they go from near to far. By similarity, the order is "
                f"{brief(near_to_far)} or its reverse",
                stacklevel=3,
            )

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Return the unit-length features of the words, (K, D), or (B, K, D) if they depend on the pooled features.

        Args:
            text: the text tower.
            pooled: (B, D), the pooled features of the images; None unless `needs_pooled`.
        """
        if self.features is None:
            raise unprepared(self)
        return self.features


def encode_groups(text: TextEncoder, groups: Sequence[Sequence[str]]) -> Tensor:
    """Return the normalized mean of the unit-length features of each group of sentences, (K, D)."""
    # in one call, so that the tower can encode all groups in the same batches
    encoded = text.encode([sentence for group in groups for sentence in group]).split([len(group) for group in groups])
    return F.normalize(torch.stack([group.mean(0) for group in encoded]), dim=-1)


def centre(features: Tensor) -> Tensor:
    """Return features (..., K, D) with their mean over the K words subtracted, normalized to unit length."""
    return F.normalize(features - features.mean(-2, keepdim=True), dim=-1)


def words_of(words: Sequence[str] | str) -> tuple[str, ...]:
    """Return distance words from a list or the name of a set.

    Raises:
        InputError: if the set is unknown, fewer than two words are given, or two of them are equal.
    """
    if isinstance(words, str):
        check_choice("words", words, WORDS, "or list the words")
        return WORDS[words]
    listed = texts_of("words", words)
    if not 2 <= len(listed) <= MOST_BINS:
        raise InputError(f"words {brief(list(listed))} must be at least two and at most {MOST_BINS}, near to far")
    first: dict[str, str] = {}
    for word in listed:
        spaced = " ".join(word.split())  # tokenizers ignore further spaces
        if spaced in first:
            raise InputError(f"words {first[spaced]!r} and {word!r} are equal; each bin must have a different word")
        first[spaced] = word
    return listed


def texts_of(name: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Return a list of texts as a tuple.

    Raises:
        InputError: if the value is not a list, is empty, or has an entry that `check_text` refuses.
    """
    if isinstance(texts, str) or not isinstance(texts, Sequence) or not texts:
        raise InputError(f"{name} {brief(texts)} must be a list of texts that is not empty")
    for text in texts:
        check_text(name, text)
    return tuple(texts)


def check_text(name: str, text: object) -> None:
    """Raise unless a value is a text that a tokenizer can read.

    Raises:
        InputError: if the value is not a text, or is blank, very long or not valid Unicode.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{name} has the entry {brief(text)}, which must be a text that is not blank")
    if len(text) > LONGEST or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{name} has the entry {brief(text)}, which must be Unicode of at most {LONGEST} characters")


def check_templates(templates: Sequence[str], allowed: Sequence[str], counted: Sequence[str] = ()) -> None:
    """Raise unless all templates have valid fields.

    Args:
        templates: sentences with fields in braces.
        allowed: names of the fields that a template may have; `distance` is required.
        counted: names of the fields that may have a number of vectors, as in `{context:4}`.

    Raises:
        InputError: if a template cannot be parsed, has no `{distance}`, or has a field that is not allowed.
    """
    named = " and ".join(f"{{{field}}}" for field in allowed)
    for template in templates:
        try:
            parsed = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            raise InputError(f"template {brief(template)} cannot be read ({error}); use {named}") from error
        fields = {field for field, _, _ in parsed}
        if "distance" not in fields or fields - set(allowed):
            raise InputError(
                f"template {brief(template)} must have {{distance}} and no field in braces other than {named}"
            )
        if plain := [field for field, spec, how in parsed if how or (spec and field not in counted)]:
            raise InputError(
                f"template {brief(template)} must not format its {plain[0]}; use {{{plain[0]}}} without `:` and `!`"
            )
