"""Read recipe files, and refuse YAML that is too large or malformed before the argument parser copies its values."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader

from depthclip.errors import InputError

LARGEST_FILE = 10_000_000  # bytes
MOST_VALUES = 100_000  # counted after aliases are expanded
DEEPEST = 50
LONGEST_LIST = 3_000  # entries; the parser copies a list for each of them; 3,000 take 20 s
PARTS = {"data": {"class_path", "init_args"}, "model": {"encoder", "head"}}


def read_recipe(path: str) -> dict[str, Any]:
    """Return the content of a recipe file.

    Args:
        path: a YAML file whose top level holds keys such as `model` and `data`.

    Raises:
        InputError: if the path is not a regular file, or the file is not UTF-8, not YAML, or not a mapping.
    """
    recipe = read_mapping(path)
    for part, keys in PARTS.items():
        if keys & recipe.keys():
            raise InputError(f"{path} is a {part} file, with {sorted(keys & recipe.keys())}: use --{part} {path}")
    for key in ("model", "trainer"):
        value = recipe.get(key, {})
        if not isinstance(value, dict | str) and not (key in PARTS and isinstance(value, list)):
            raise InputError(f"{path}: {key} {value!r} must hold keys with values")
    for key in PARTS:
        value = recipe.get(key)
        if isinstance(value, list) and not (value and all(isinstance(part, dict | str) for part in value)):
            raise InputError(f"{path}: {key} {value!r} must hold keys with values, or be a list of files and mappings")
    for key, value in recipe.items():
        if value == {} and key not in (*PARTS, "trainer"):  # the parser accepts it even if the key does not exist
            raise InputError(f"{path}: {key} {{}} has no value; set a value or remove the key")
    return recipe


def read_mapping(path: str) -> dict[str, Any]:
    """Return the content of a YAML file that holds keys with values.

    Raises:
        InputError: if the path is not a regular file, or the file is not UTF-8, not YAML, or not a mapping.
    """
    text = read_text(path)
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {one_line(error)}; check that line") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not isinstance(content, dict) or not content:
        found = "empty" if not text.strip() else shorten(text.strip())
        raise InputError(f"{path} is {found}; a recipe must hold keys with values, such as name: mine")
    return content


def read_text(path: str) -> str:
    """Return the text of a regular UTF-8 file.

    Raises:
        InputError: if the file cannot be read or is not UTF-8.
    """
    check_file(path, "recipe", "pass the path of a YAML file", LARGEST_FILE)
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8 text and try again") from error


def check_file(path: str | Path, kind: str, way_out: str, largest: int | None = None) -> None:
    """Raise unless a path leads to a regular file that can be read; reading a pipe might never end.

    Args:
        path: the path.
        kind: kind of the file for the message, such as `recipe`.
        way_out: advice for the user, the end of the message.
        largest: largest size in bytes; None for no limit.

    Raises:
        InputError: if it does not; the message has the path and the reason.
    """
    shown = shorten(path) or repr(str(path))
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{kind} {shown} is a folder; {way_out}")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{kind} {shown} is a pipe or a device and not a file; {way_out}")
        if largest is not None and status.st_size > largest:
            raise InputError(f"{kind} {shown} has {status.st_size} bytes, but must have at most {largest}; {way_out}")
        with Path(path).open("rb"):
            pass
    except FileNotFoundError as error:
        raise InputError(f"there is no {kind} {shown}; {way_out}") from error
    except InputError:
        raise
    except (OSError, ValueError) as error:  # no permission, a loop of links, a null byte, a name that is too long
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{kind} {shown} cannot be read ({reason}); {way_out}") from error


def load_yaml(text: str) -> Any:
    """Return the value of YAML text, as the `yaml` mode of jsonargparse reads it.

    Raises:
        yaml.YAMLError: if the text is not YAML.
        InputError: if the text nests too deeply, expands to too many values, or repeats a key.
    """
    if any(sign in text for sign in "&*[{\n"):  # any other text is a single scalar
        check_size(text)
    value = get_loader("yaml")(text)
    for inner in texts(value):
        check_no_pipe(inner)
    return value


def texts(value: object) -> Iterator[str]:
    """Yield every string in nested values, including keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts(key)
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)


def check_no_pipe(text: str) -> None:
    """Raise if a text is the path of a pipe or a device, which the parser would read without end.

    Raises:
        InputError: if it is such a path.
    """
    try:
        mode = Path(text).stat().st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f"{text} is a pipe or a device and not a file; pass the path of a file")


class Node:
    """A collection of a YAML document: its size with aliases expanded, and the keys read so far."""

    def __init__(self, anchor: str | None = None, mapping: bool = False) -> None:
        self.anchor = anchor
        self.size = 1
        self.keys: set[str] | None = set() if mapping else None
        self.children = 0

    def add(self, size: int, key: str | None = None) -> None:
        """Add a child; the children of a mapping are keys and values in turn.

        Raises:
            InputError: if a key is repeated.
        """
        if self.keys is not None and self.children % 2 == 0 and key is not None and key != "<<":
            if key in self.keys:
                raise InputError(f"the key {key!r} is given twice in one mapping; remove one of them")
            self.keys.add(key)
        self.size += size
        self.children += 1


def check_size(text: str) -> None:
    """Raise if YAML text nests too deeply, expands to too many values, refers to itself, or repeats a key.

    The events of the document are counted without expanding aliases.

    Raises:
        yaml.YAMLError: if the text is not YAML.
        InputError: if a limit is exceeded; the message names the anchor or the key.
    """
    anchors: dict[str, int] = {}
    stack = [Node()]
    for event in yaml.parse(text, Loader=yaml.SafeLoader if len(text) < 1000 else fast_loader()):
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append(Node(event.anchor, isinstance(event, yaml.MappingStartEvent)))
            if len(stack) > DEEPEST:
                raise InputError(f"the YAML nests more than {DEEPEST} collections; remove some levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = stack.pop()
            if ended.keys is None and ended.children > LONGEST_LIST:
                raise InputError(
                    f"a list has {ended.children} entries, but must have at most {LONGEST_LIST}; "
                    "use a file or a pattern for images, and Python for more words"
                )
            if ended.anchor:
                anchors[ended.anchor] = ended.size
            stack[-1].add(ended.size)
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor:
                anchors[event.anchor] = 1
            stack[-1].add(1, event.value)
        elif isinstance(event, yaml.AliasEvent):
            if any(node.anchor == event.anchor for node in stack):
                raise InputError(f"the alias *{event.anchor} refers to the collection that holds it; remove it")
            stack[-1].add(anchors.get(str(event.anchor), 1))
        if sum(node.size for node in stack) > MOST_VALUES:
            raise InputError(f"the YAML expands to more than {MOST_VALUES} values; remove aliases or shorten its lists")


def fast_loader() -> type[Any]:
    """Return the loader of libyaml, or the pure Python loader where libyaml is not installed."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def one_line(error: object) -> str:
    """Return the message of an exception without line breaks."""
    return " ".join(str(error).replace('in "<unicode string>", ', "at ").split())


def shorten(value: object, length: int = 80) -> str:
    """Return a value as text, shortened in the middle where it is long."""
    text = " ".join(str(value).split())
    return text if len(text) <= length else f"{text[: length - 20]} ... {text[-15:]}"
