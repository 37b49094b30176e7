"""Lists of words."""

from collections.abc import Iterable
from pathlib import Path

from depthclip.checks import brief
from depthclip.errors import InputError
from depthclip.head.prompts import check_text
from depthclip.recipe_files import check_file

MOST_WORDS = 200_000
LARGEST_FILE = 100_000_000  # bytes


def read_words(path: str | Path) -> list[str]:
    """Return the words of a text file, a word or phrase per line; blank lines are skipped.

    Args:
        path: a UTF-8 text file.

    Raises:
        InputError: if the file cannot be read, has no words, or has a word twice.
    """
    check_file(path, "list of words", "pass a text file with a word per line", LARGEST_FILE)
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8 text and try again") from error
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        word = " ".join(line.split())  # tokenizers ignore further spaces
        if not word:
            continue
        check_text(f"{path}, line {number},", word)
        if word in first:
            raise InputError(f"{path} has {brief(word)} in lines {first[word]} and {number}; remove one of them")
        first[word] = number
    if not 2 <= len(first) <= MOST_WORDS:
        raise InputError(f"{path} has {len(first)} words; it must have 2 to {MOST_WORDS}, one per line")
    return list(first)


def with_words(first: Iterable[str], words: Iterable[str]) -> list[str]:
    """Return different words: `first`, then the others."""
    return list(dict.fromkeys([*first, *words]))
