"""One sentence for each exception that the user can act on: the argument or file, its value, and the way out."""

import difflib
import inspect
import re
import sys
from collections.abc import Collection, Iterator, Sequence

from depthclip.errors import InputError
from depthclip.recipe_files import one_line, shorten

TYPES = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "keys with values",
    "NoneType": "null",
}
KEY = re.compile(r'Parser key "([^"]*)"')
CLASS = re.compile(r"class_path '([\w.]+)'")
UNKNOWN = re.compile(r"(?:Subcommand '\w+' does not accept option|Option) '([^']*)'|[Uu]nrecognized arguments: --(\S+)")
NOT_A_TYPE = re.compile(r"Expected an? <class '([\w.]+)'>(?:.*?Got value: (.*))?", re.DOTALL)


def sentence(error: BaseException) -> str:
    """Return the text of an exception as one line.

    A loader's worker process puts its traceback before the text, and a library may wrap an `InputError` of this
    package in an exception that lists all that was tried; both are left out.
    """
    for inner in chain(error):
        if isinstance(inner, InputError):
            error = inner
            break
    text = str(error).strip()
    if text.startswith("Caught ") and "\n" in text:
        text = text.splitlines()[-1].partition(": ")[2]
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror}; check that the place exists, has space, and may be written"
    elif isinstance(error, MemoryError):
        text = f"the memory is used up ({text or 'no more could be had'}); use smaller images, batches or counts"
    return one_line(text) or type(error).__name__


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that led to it, the outermost first."""
    seen: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in seen:
        yield inner
        seen.append(inner)
        inner = inner.__cause__ or inner.__context__


def parser_sentence(error: Exception, options: dict[str, Collection[str]]) -> str:
    """Return one line for an error of the argument parser.

    Args:
        error: the parser's exception; its text may list all types of a union.
        options: names that may follow a prefix: `""` for the top level, `model` and `trainer`.
    """
    for inner in chain(error):
        if isinstance(inner, InputError):
            return one_line(inner)
    text = re.sub(r"^error: ", "", str(error).strip())
    classes = CLASS.findall(text)
    if found := UNKNOWN.search(text):
        prefix, _, name = (found[1] or found[2]).rpartition(".")
        names = options.get(prefix) or (parameters(classes[-1]) if classes else [])
        where = ".".join(part for part in (*KEY.findall(text)[:1], prefix) if part and part != "config")
        owner = f" of {where}" if where else ""
        return f"option {name!r}{owner} is unknown; {nearest(name, names)}"
    if found := re.search(r"following arguments are required: (.*)", text):
        keys = ", ".join("--" + re.sub(r"^(fit|validate|test|predict)\.", "", key) for key in found[1].split(", "))
        return f"{keys} must be given; pass a recipe with -c, such as -c configs/rooms.yaml, or set them"
    return value_sentence(text, classes)


def value_sentence(text: str, classes: Sequence[str]) -> str:
    """Return one line for a value that does not fit the type of its argument.

    Args:
        text: the message of the parser, with a line `Parser key` for each level.
        classes: the class paths that it names.
    """
    keys = [key for key in dict.fromkeys(KEY.findall(text)) if key != "config"]
    key = ".".join(keys) or "an argument"
    given = re.findall(r"Given value: (.*)|Got value: (.*)|Expected a path but (.*?) either", text)
    values = [value for groups in given for value in groups if value and not value.startswith("NestedArg")]
    value = f" {shorten(values[-1])!r}" if values else ""
    if found := re.search(r"Importing '([\w.]+)' is not allowed", text):
        module = found[1].rpartition(".")[0]
        return f"{key} names {found[1]}, code outside this package: add --trust {module} if you trust that module"
    if found := re.search(r"No module named '([\w.]+)'|has no attribute '(\w+)'|cannot import name '(\w+)'", text):
        name = next(group for group in found.groups() if group)
        known = nearest(classes[-1] if classes else name, subclass_names(text))
        return f"{key} names the class {classes[-1] if classes else name}, which does not exist ({name}); {known}"
    names = subclass_names(text)
    if "dot import path" in text and names:
        return f"{key}{value} is unknown; {nearest(values[-1] if values else '', names)}"
    expected = expected_types(text)
    if expected:
        return f"{key}{value} must be {' or '.join(expected)}"
    reason = [line.strip(" -") for line in text.splitlines() if line.strip() and not KEY.search(line)]
    return f"{key}{value} cannot be used: {shorten(reason[-1] if reason else text, 300)}; check its name and value"


def expected_types(text: str) -> list[str]:
    """Return what the parser expected, in words, the innermost expectation only."""
    if choices := re.findall(r"[Ee]xpected (?:a typing\.)?(?:Literal)?\[?.*?(\[[^\]]*\]|\{[^}]*\})", text[-2000:]):
        if "Literal" in text or "choose" in text:
            return [f"one of {choices[-1].strip('[]{}')}"]
    if union := re.findall(r"Subtypes: \[(.*)\]", text):
        names = [part for part in re.split(r", (?![^\[]*\])", union[-1])]
    else:
        names = [f"<class '{found[0]}'>" for found in NOT_A_TYPE.findall(text)][-1:]
    words = []
    for name in names:
        plain = re.sub(r"<class '([\w.]+)'>", r"\1", name)
        kind = plain.partition("[")[0].rpartition(".")[2]
        words.append(TYPES.get(kind, f"keys with values of {kind}" if kind else plain) + inner_type(plain))
    return list(dict.fromkeys(words))


def inner_type(name: str) -> str:
    """Return ` of numbers`, for example, for a list of floats."""
    found = re.search(r"(?:list|tuple)\[(.*)\]", name)
    if not found:
        return ""
    words = [TYPES.get(part.strip(), part.strip()) for part in re.sub(r"<class '([\w.]+)'>", r"\1", found[1]).split(",")]
    return f" of {' and '.join(words)}"


def subclass_names(text: str) -> list[str]:
    """Return the names of the classes that fit the place that a message of the parser is about."""
    names: list[str] = []
    for path in re.findall(r"<class '(depthclip[\w.]+)'>|subclass of (\w+)", text):
        if (base := class_at(path[0])) is not None:
            names += [base.__name__, *(kind.__name__ for kind in descendants(base))]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def descendants(base: type) -> Iterator[type]:
    """Yield the subclasses of a class that are imported."""
    for kind in base.__subclasses__():
        yield kind
        yield from descendants(kind)


def class_at(path: str) -> type | None:
    """Return the class at a dotted path, if its module is already imported; nothing is imported here."""
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def parameters(path: str) -> list[str]:
    """Return the names of the constructor's arguments of a class."""
    kind = class_at(path)
    return [] if kind is None else [name for name in inspect.signature(kind).parameters if name != "self"]


def nearest(name: str, names: Collection[str]) -> str:
    """Return a hint at the nearest of some names, or at all of them."""
    if not names:
        return "check its name in the output of --help"
    if close := difflib.get_close_matches(name.rpartition(".")[2], names, n=3):
        return f"the nearest known {'names are' if len(close) > 1 else 'name is'} {', '.join(close)}"
    return f"known names are {', '.join(sorted(names)[:30])}"
