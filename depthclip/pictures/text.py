"""Text that fits a picture: its width, lines, and long names that are cut in the middle."""

from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

SMALL, LARGE = 8, 9  # points
LINE = 1.35  # height of a line, as a multiple of the size
POINTS = 72  # per inch


def drawable(text: str) -> str:
    """Return a text whose characters can be drawn: escapes in place of lone surrogates and of control characters."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


@lru_cache(4096)
def width_of(text: str, size: float = SMALL) -> float:
    """Return the width of a text in inches.

    Args:
        text: the text, one line.
        size: size of the font in points.
    """
    width, _, _ = TextToPath().get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return width / POINTS


def height_of(lines: int, size: float = SMALL) -> float:
    """Return the height of some lines in inches."""
    return lines * LINE * size / POINTS


def fit(text: str, width: float, size: float = SMALL) -> str:
    """Return a text that is no wider than `width` inches; the middle of a longer one becomes an ellipsis."""
    text = drawable(text)
    if width_of(text, size) <= width:
        return text
    kept = len(text) - 1
    while kept > 0 and width_of(short := cut_middle(text, kept), size) > width:
        # a guess that is too short is never taken, since characters differ in width
        kept -= max(1, int(kept * (1 - width / width_of(short, size)) / 2))
    return cut_middle(text, max(kept, 0))


def cut_middle(text: str, kept: int) -> str:
    """Return the start and the end of a text, `kept` characters in all, around an ellipsis."""
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def wrap(text: str, width: float, lines: int, size: float = SMALL) -> str:
    """Return a text in at most `lines` lines of `width` inches; what does not fit is cut in the middle.

    Args:
        text: the text, broken at spaces.
        width: width of the lines in inches.
        lines: largest number of lines, at least 1.
        size: size of the font in points.
    """
    broken: list[str] = []
    for word in drawable(text).split():
        if broken and width_of(f"{broken[-1]} {word}", size) <= width:
            broken[-1] = f"{broken[-1]} {word}"
        else:
            broken.append(word)
    if len(broken) > lines:
        head = (lines + 1) // 2
        tail = broken[len(broken) - (lines - head) :] if lines > head else []
        if lines == 1:
            return fit(text, width, size)
        broken = [*broken[: head - 1], f"{broken[head - 1]} …", *tail]
    return "\n".join(fit(line, width, size) for line in broken)
