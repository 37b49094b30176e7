"""Atomic writes: a file that exists is complete, whatever happened to the process that wrote it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_atomic(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file for writing that takes its name only once it is complete.

    The data go to a temporary file in the same folder, named after the process so that two runs never share one; it
    replaces `path` when the block ends and is removed when the block raises.

    Args:
        path: file to write; its folder must exist.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
