"""Prompts: the sentences whose similarity to a patch says how far it is."""

import string
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.encoder.interfaces import TextEncoder

# Word sets, near to far. "depthclip" and the three after it are the paper's (arXiv 2207.01077, prompt study).
WORDS: dict[str, tuple[str, ...]] = {
    "depthclip": ("giant", "extremely close", "close", "not in distance", "a little remote", "far", "unseen"),
    "depthclip1": ("extremely close", "close", "middle", "a little far", "far", "quite far", "unseen"),
    "depthclip2": ("extremely close", "very close", "close", "a little close", "a little far", "far", "unseen"),
    "depthclip3": ("giant", "close", "a little close", "not in distance", "a bit remote", "far", "unseen"),
    "five": ("very close", "close", "medium", "far", "very far"),
}
TEMPLATE = "This {object} is {distance}"


class Prompts(nn.Module):
    """Fixed prompts: distance words in templates about objects, one feature a word.

    As CLIP's zero-shot classifier does, the unit-length features of all sentences of a word are averaged and
    normalised: t_k = normalise(mean_s f(sentence_s(word_k))). The sentences are encoded once. Prompts that learn
    subclass this and create their parameters in `prepare`.

    Args:
        words: K distance words in the order of the bins, or the name of a set: `depthclip` (the paper's), `depthclip1`,
            `depthclip2`, `depthclip3` (its study), `five` (very close / close / medium / far / very far).
        templates: sentences with `{distance}`, and `{object}` where objects should be named.
        objects: what `{object}` stands for.
        centred: whether the mean over words is taken away, t'_k = normalise(t_k - mean_k t_k), which leaves what sets
            the words apart.

    Raises:
        ValueError: if a set is unknown, a list is empty, or a template has other fields or no `{distance}`.
    """

    fields: ClassVar[tuple[str, ...]] = ("distance", "object")  # what a template may hold

    def __init__(
        self,
        words: Sequence[str] | str = "depthclip",
        templates: Sequence[str] = (TEMPLATE,),
        objects: Sequence[str] = ("object",),
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.words = words_of(words)
        self.templates = tuple(templates)
        self.objects = tuple(objects)
        self.centred = centred
        check_templates(self.templates, self.objects, self.fields)
        self.features: Tensor | None
        self.register_buffer("features", None, persistent=False)

    @property
    def needs_pooled(self) -> bool:
        """Whether the prompts look at the image's pooled feature."""
        return False

    @property
    def labels(self) -> tuple[str, ...]:
        """A short name for each of the K prompts, for tables and pictures."""
        return self.words

    def sentences(self, word: str) -> list[str]:
        """All sentences that speak of a word, templates x objects, each once."""
        filled = (t.format(object=o, distance=word) for t in self.templates for o in self.objects)
        return list(dict.fromkeys(filled))

    def prepare(self, text: TextEncoder) -> None:
        """What can be done once the text tower is known: fixed sentences are encoded, learned parameters created.

        The head calls it before an optimizer sees the parameters; a second call changes nothing.
        """
        if self.features is None:
            features = encode_groups(text, [self.sentences(word) for word in self.words])
            self.features = centre(features) if self.centred else features

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Text features of the K words, (K, D), unit length; with the image's pooled (B, D) they may be (B, K, D)."""
        self.prepare(text)
        assert self.features is not None
        return self.features


def encode_groups(text: TextEncoder, groups: Sequence[Sequence[str]]) -> Tensor:
    """One unit-length feature for each group of sentences, the mean over the group normalised, (K, D)."""
    # one call for all groups: the tower encodes them in one batch
    encoded = text.encode([sentence for group in groups for sentence in group]).split([len(group) for group in groups])
    return F.normalize(torch.stack([group.mean(0) for group in encoded]), dim=-1)


def centre(features: Tensor) -> Tensor:
    """Takes the mean over the K prompts away and normalises, (..., K, D)."""
    return F.normalize(features - features.mean(-2, keepdim=True), dim=-1)


def words_of(words: Sequence[str] | str) -> tuple[str, ...]:
    """Distance words by the name of their set, or as given.

    Raises:
        ValueError: if the set is unknown or fewer than two words are given.
    """
    if isinstance(words, str):
        if words not in WORDS:
            raise ValueError(f"words {words!r} is no word set; choose one of {', '.join(WORDS)}, or list the words")
        return WORDS[words]
    if len(words) < 2:
        raise ValueError(f"words {list(words)} must be at least two, near to far")
    return tuple(words)


def check_templates(templates: Sequence[str], objects: Sequence[str], allowed: Sequence[str]) -> None:
    """Refuses templates that cannot be filled.

    Raises:
        ValueError: naming the template and what is wrong with it.
    """
    if not templates or not objects:
        raise ValueError(f"templates {list(templates)} and objects {list(objects)} must not be empty")
    named = " and ".join(f"{{{field}}}" for field in allowed)
    for template in templates:
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
        except ValueError as error:
            raise ValueError(f"template {template!r} cannot be read ({error}); use {named}") from error
        if "distance" not in fields or fields - set(allowed):
            raise ValueError(f"template {template!r} must have {{distance}} and no field in braces other than {named}")
