"""Checks of paths before they are opened; opening a named pipe, for example, would block forever."""

import os
import stat
from pathlib import Path

from depthclip.data.samples import DataError
from depthclip.errors import InputError

LONGEST = 200  # characters of a path in a message
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def argument_path(name: str, value: str) -> Path:
    """Return the path of an argument, with `~` expanded unless a file has this very name.

    Args:
        name: name of the argument.
        value: path as text.

    Raises:
        InputError: if it is empty, contains a null character, or names an unknown user.
    """
    if not isinstance(value, str | os.PathLike) or not str(value).strip() or "\0" in str(value):
        raise InputError(f"{name} {value!r} is not a path; set {name} to a file or folder")
    if os.path.lexists(value):
        return Path(value)
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise InputError(f"{name} {str(value)!r} names an unknown user; write the path without ~") from error


def fault(path: Path) -> str:
    """Return why a path is not a regular file, such as `does not exist`, or "" if it is."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            return f"is a link to {quoted(path.readlink())}, which does not exist"
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    kind = stat.S_IFMT(status.st_mode)
    return "" if kind == stat.S_IFREG else f"cannot be read (it is {KINDS.get(kind, 'not a regular file')})"


def regular_file(path: Path, what: str, hint: str = "check the path") -> Path:
    """Return a path after checking that it is a regular, readable file that is not empty.

    Args:
        path: path; links are followed.
        what: description of the file, such as `image` or the name of the argument.
        hint: way to correct the error.

    Raises:
        DataError: if it is anything else.
    """
    reason = fault(path)
    if not reason and not path.stat().st_size:
        reason = "cannot be read (it is empty)"
    if not reason and not os.access(path, os.R_OK):
        reason = "cannot be read (permission denied)"
    if reason:
        raise DataError(f"{what} {quoted(path)} {reason}; {hint}")
    return path


def data_folder(path: Path, name: str, hint: str) -> Path:
    """Return a path after checking that it is a folder.

    Args:
        path: path; links are followed.
        name: name of the argument.
        hint: value that the argument should have.

    Raises:
        DataError: if it is anything else.
    """
    if not os.path.isdir(path):
        raise DataError(f"{name} {quoted(path)} is not a folder; set {name} to {hint}")
    return path


def read_list_text(path: Path, what: str, hint: str = "check the path") -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises:
        DataError: if it is not a regular file, or not UTF-8 text.
    """
    regular_file(path, what, hint)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} {quoted(path)} is not UTF-8 text ({error.reason}); {hint}") from error
    except OSError as error:
        raise DataError(f"{what} {quoted(path)} cannot be read ({error.strerror}); {hint}") from error


def quoted(path: Path | str) -> str:
    """Return a path for a message, shortened in the middle if it is very long."""
    text = str(path)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}...{text[-LONGEST // 2 :]}"
