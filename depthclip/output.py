"""Standard output that no reader and no encoding can make a run fail."""

import io
import os
import sys


class UnreadOutput(io.FileIO):
    """A file that accepts what nobody reads any more, as in `| head -1`: the run goes on and writes its files."""

    def write(self, data: object) -> int:
        """Write bytes, or drop them if the reader is gone."""
        try:
            return super().write(data)  # type: ignore[arg-type]  # any buffer
        except BrokenPipeError:
            return len(memoryview(data))  # type: ignore[arg-type]


def make_tolerant() -> None:
    """Replace unknown characters by escapes on both streams, and accept a reader of standard output that goes away."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        raw = UnreadOutput(sys.stdout.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), sys.stdout.encoding, "backslashreplace", line_buffering=sys.stdout.isatty()
        )


def abandon_output() -> None:
    """Send what cannot be printed to nowhere, or Python would fail again when it closes the stream."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
