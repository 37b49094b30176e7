"""Turn an exception that the user can act on into one sentence: the argument or file, its value, and the way out."""

import errno
import re
from collections.abc import Iterator

import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from depthclip.errors import InputError
from depthclip.recipe_files import one_line, shorten

# without ENOENT: a missing file that the user named raises an `InputError`
PLACES = {
    number
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENAMETOOLONG", "ENOTDIR", "EISDIR", "EEXIST", "EIO")
    if (number := getattr(errno, name, None)) is not None
}
WORKER = re.compile(r"DataLoader worker \(pid.*\) (is killed|exited)")
NO_SPACE = re.compile(r"PytorchStreamWriter failed|iostream error|enforce fail at inline_container")
NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory", re.IGNORECASE)


def is_users(error: BaseException) -> bool:
    """Return whether the user can act on an exception; any other is a bug of the package."""
    if any(isinstance(inner, InputError) for inner in chain(error)):
        return True
    if isinstance(error, OSError):
        return error.errno in PLACES
    if isinstance(error, RuntimeError):
        return bool(memory_or_place(str(error))) or isinstance(error, torch.OutOfMemoryError)
    return isinstance(error, MisconfigurationException | MemoryError)


def sentence(error: BaseException) -> str:
    """Return the message of an exception as one line.

    A worker process of a data loader adds its traceback to the message, and a library may wrap an `InputError` of this
    package in an exception that lists all attempts; both additions are removed.
    """
    error = next((inner for inner in chain(error) if isinstance(inner, InputError)), error)
    if attempt := constructor_message(str(error)):
        return attempt
    while "Union subtypes" in str(error) and error.__cause__ is not None:
        error = error.__cause__  # the parser wraps the error of a constructor once for each enclosing union
    text = str(error).strip()
    if text.startswith("Caught ") and "\n" in text:
        text = text.splitlines()[-1].partition(": ")[2]
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror}; check that the path exists and can be written, and that its disk has space"
    elif isinstance(error, MemoryError | torch.OutOfMemoryError):
        text = f"the memory is used up ({shorten(text) or 'out of memory'}); use smaller images, batches or counts"
    elif isinstance(error, RuntimeError):
        text = memory_or_place(text) or text
    elif isinstance(error, MisconfigurationException):
        text = f"the Trainer cannot do this: {one_line(text)}; check the arguments of trainer"
    return one_line(text) or type(error).__name__


def constructor_message(text: str) -> str:
    """Return the message of a constructor among the parser's attempts at the members of a union, or ""."""
    if "Union subtypes" not in text:
        return ""
    attempts = [line.strip()[2:] for line in text.splitlines() if line.strip().startswith("- ")]
    others = ("Does not validate", "Expected a", "Import path", "Problem with", "Parser key")
    return next((attempt for attempt in attempts if not attempt.startswith(others)), "")


def memory_or_place(text: str) -> str:
    """Return a sentence for torch's RuntimeError about memory, a disk or a worker process, "" for any other error."""
    if WORKER.search(text):
        return "a process that loads data was killed, usually for lack of memory; use fewer data.loading.num_workers"
    if NO_SPACE.search(text):
        return f"a file cannot be written ({shorten(text)}); check that the disk has space"
    if NO_MEMORY.search(text):
        return f"the memory is used up ({shorten(text)}); use smaller images, batches or counts"
    return ""


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, the outermost first."""
    seen: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in seen:
        yield inner
        seen.append(inner)
        inner = inner.__cause__ or inner.__context__
