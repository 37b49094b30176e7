"""The standard streams of the command line: protect a run from a closed output, and print warnings as sentences."""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class UnreadOutput(io.FileIO):
    """A raw file that ignores a closed pipe, as in `| head -1`, so that the run continues and writes its files."""

    def write(self, data: object) -> int:
        """Write bytes, or drop them if the reader is gone."""
        try:
            return super().write(data)  # type: ignore[arg-type]  # any buffer
        except BrokenPipeError:
            return len(memoryview(data))  # type: ignore[arg-type]


def make_tolerant() -> None:
    """Escape characters that standard output and error cannot encode, and ignore a closed pipe on standard output."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        raw = UnreadOutput(sys.stdout.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), sys.stdout.encoding, "backslashreplace", line_buffering=sys.stdout.isatty()
        )


def abandon_output() -> None:
    """Discard output that cannot be written; otherwise Python fails again when it closes the stream."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print each `UserWarning` within the block as `warning: TEXT`, without a path and a line of code.

    Other warnings, such as deprecations, keep their format.
    """
    usual = warnings.formatwarning

    def plain(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if issubclass(category, UserWarning):
            return f"warning: {message}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = usual
