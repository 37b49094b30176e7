"""Write files atomically: a file that exists is complete, even if the process that wrote it was killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_atomic(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file for writing that gets its name only when it is complete.

    The data go to a temporary file in the same folder. Its name contains the process id, so that two runs never share
    it. The temporary file replaces `path` when the block ends, and is removed when the block raises.

    Args:
        path: file to write; its folder must exist.

    Yields:
        The temporary file, open for writing.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
