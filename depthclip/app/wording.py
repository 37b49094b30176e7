"""Words, bins, templates and temperature as texts that a person edits."""

from collections.abc import Sequence
from dataclasses import dataclass

from depthclip.checks import brief
from depthclip.errors import InputError
from depthclip.head.depth_head import DepthHead
from depthclip.head.words import metres

SEPARATOR = "|"


@dataclass(frozen=True)
class Wording:
    """The words, bins, templates and temperature of a head, which a person edits.

    Args:
        words: K distance words from near to far.
        bins: K depths in metres.
        templates: sentences with `{distance}`.
        temperature: divisor of the logits.
    """

    words: tuple[str, ...]
    bins: tuple[float, ...]
    templates: tuple[str, ...]
    temperature: float

    @property
    def lines(self) -> str:
        """The words with their bins as text, a line `word | metres` for each."""
        return "\n".join(f"{word} {SEPARATOR} {each:.9g}" for word, each in zip(self.words, self.bins, strict=True))


def wording_of(head: DepthHead) -> Wording:
    """Return the wording of a head with fixed words and bins."""
    return Wording(head.prompts.words, tuple(metres(head.bins)), head.prompts.templates, head.temperature)


def read_wording(lines: str, templates: str, temperature: float | None) -> Wording:
    """Return the wording in texts that a person has edited; blank lines are ignored.

    The head checks the values, and that there are as many bins as words.

    Args:
        lines: a line `word | metres` for each word; a line without `|` is a word without a bin.
        templates: a sentence with `{distance}` on each line.
        temperature: divisor of the logits; None if the field is empty.

    Raises:
        InputError: if a depth is not a number, or the temperature is missing.
    """
    words: list[str] = []
    bins: list[float] = []
    for line in filled_lines(lines):
        word, separator, depth = line.rpartition(SEPARATOR)
        words.append((word if separator else line).strip())
        if separator and depth.strip():
            bins.append(number_of(depth.strip(), words[-1]))
    if temperature is None:
        raise InputError("temperature is empty, but must be a number; use 0.1 as in the paper")
    return Wording(tuple(words), tuple(bins), tuple(filled_lines(templates)), float(temperature))


def number_of(text: str, word: str) -> float:
    """Return the depth of a word in metres.

    Raises:
        InputError: if the text is not a number.
    """
    try:
        return float(text)
    except ValueError as error:
        raise InputError(
            f"the depth {brief(text)} of the word {brief(word)} must be a number of metres, as in `far {SEPARATOR} 4.5`"
        ) from error


def filled_lines(text: str) -> Sequence[str]:
    """Return the lines of a text that are not blank, without spaces at their ends."""
    return [line.strip() for line in text.splitlines() if line.strip()]
