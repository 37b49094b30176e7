"""Bad lists of words, and bad options of the study of words."""

from depthclip.encoder.vocabulary import encode_words
from depthclip.vocabulary import read_words
from experiments.vocabulary import main
from tests.bad.judge import Case
from tests.conftest import frozen

LISTS = {
    "empty": (b"", "0 words"),
    "blank": (b" \n\t\n", "0 words"),
    "single": (b"far\n", "1 words"),
    "twice": (b"far\nnear\nfar\n", "'far'", "lines 1 and 3"),
    "not UTF-8": (b"far\nn\xe4he\n", "UTF-8"),
    "long": (b"far\n" + b"x" * 5000, "line 2", "xxx"),
}


def listed(content: bytes):
    def run(folder):
        path = folder / "words.txt"
        path.write_bytes(content)
        read_words(path)

    return run


def without_tokens(folder):
    encode_words(frozen("small-vit", "tokens").text, ["near", "&nbsp;"], lambda word: [f"It is {word}"])


def option(*args, capture):
    def run(folder):
        return capture(["--quick", *args])

    return run


def printed(args):
    import contextlib
    import io

    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        code = main(args)
    return error.getvalue() if code == 2 else None


CASES = [
    *(Case("list of words", name, listed(content), tuple(names)) for name, (content, *names) in LISTS.items()),
    Case("list of words", "missing", lambda folder: read_words(folder / "none.txt") and None, ("none.txt",)),
    Case("list of words", "folder", lambda folder: read_words(folder) and None, ("folder",)),
    Case("list of words", "without tokens", without_tokens, ("words", "'&nbsp;'")),
    Case("study of words", "no images", option("--images", "0", capture=printed), ("--images", "0")),
    Case("study of words", "single word", option("--best", "1", capture=printed), ("--best", "1")),
    Case("study of words", "empty sample", option("--sample", "0", capture=printed), ("--sample", "0")),
]
