"""Write files atomically: a file that exists is complete, even if the process that wrote it was killed."""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PARTIAL = re.compile(r"\.(\d{1,9})\.partial$")


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
    """Remove temporary files of `open_atomic` whose process was killed.

    Args:
        folder: folder of the files.
        files: names of the complete files; temporary files of other files remain.
    """
    if os.name != "posix":  # elsewhere, there is no signal that only checks whether a process exists
        return
    for path in folder.glob("*.partial"):
        found = PARTIAL.search(path.name)
        if found is not None and path.name[: found.start()] in files and not _runs(int(found[1])):
            with suppress(OSError):  # the folder may be read-only
                path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        pass
    return True
