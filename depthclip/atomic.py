"""Write files atomically: a file that exists is complete, even if the process that wrote it was killed."""

import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PARTIAL = re.compile(r"\.\d+\.partial$")
ABANDONED = 600  # seconds


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


def remove_abandoned(folder: Path, files: Collection[str]) -> None:
    """Remove temporary files of `open_atomic` to which nothing was written for ten minutes.

    Other machines may write to the same folder, so that the process id does not show whether a file is abandoned.

    Args:
        folder: folder of the files.
        files: names of the complete files; temporary files of other files remain.
    """
    for path in folder.glob("*.partial"):
        found = PARTIAL.search(path.name)
        with suppress(OSError):  # the folder may be read-only, or another process may have removed the file
            if found and path.name[: found.start()] in files and time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
