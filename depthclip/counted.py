"""Numbers with their nouns, for messages."""


def counted(number: int, singular: str, plural: str) -> str:
    """Return a number and the words for it, such as `1 image was` or `2 images were`."""
    return f"{number} {singular if number == 1 else plural}"
