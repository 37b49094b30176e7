"""Turn an error of the argument parser into one line: the key, the value, the expected type, the nearest known name.

The message of the parser lists all types that were tried at every level of a nested configuration. Each exception in
its chain of `__cause__` names one key; the innermost has the reason.
"""

import difflib
import inspect
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass

from depthclip.errors import InputError
from depthclip.messages import chain
from depthclip.recipe_files import one_line, shorten

WORDS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
    "Sequence": "a list",
    "Iterable": "a list",
    "dict": "keys with values",
    "Mapping": "keys with values",
    "NoneType": "null",
}
PLURALS = {"float": "numbers", "int": "whole numbers", "str": "texts", "bool": "true or false"}
KEY = re.compile(r'Parser key "([^"]*)":?\s*')
CLASS = re.compile(r"class_path '([\w.]+)'")
UNKNOWN = re.compile(r"(?:Subcommand '\w+' does not accept option|Option) '([^']*)'")
GROUP = re.compile(r"Group '(\w+)' does not accept option '([^']*)'")
ABSENT = re.compile(r"No module named '([\w.]+)'|has no attribute '(\w+)'|cannot import name '(\w+)'")
TYPE = re.compile(r"<class '([\w.]+)'>")
BASE = re.compile(r"(?:<class '|\[|, )(depthclip(?:\.\w+)+)")  # a class of this package, alone or in a list
CHOICES = re.compile(r"[lL]ist\[(?:typing\.)?Literal\[([^\]]*)\]\]")


def parser_sentence(error: Exception, options: Mapping[str, Collection[str]], given: Sequence[str] = ()) -> str:
    """Return one line for an error of the argument parser.

    Args:
        error: the parser's exception.
        options: known names by prefix: `""` for the top level, `model` and `trainer`.
        given: command line.
    """
    texts: list[str] = []
    keys: list[str] = []
    classes: list[str] = []
    leaf = str(error)
    for inner in chain(error):
        if isinstance(inner, InputError):
            return one_line(inner)
        texts.append(text := str(inner).strip())
        if (match := KEY.match(text)) is not None:
            if match[1] not in keys[-1:] and match[1] != "config":
                keys.append(match[1])
            leaf = text[match.end() :]
        if text.startswith("Problem with given class_path") and (path := CLASS.search(text)):
            classes.append(path[1])
    key = ".".join(keys)
    if match := UNKNOWN.search(texts[-1]):
        return unknown_option(match[1], key, classes, options)
    if match := GROUP.search(texts[-1]):
        return unknown_option(f"{match[1]}.{match[2]}", key, classes, options)
    if match := re.search(r"unrecognized arguments?: (.*)", leaf, re.IGNORECASE):
        name = match[1].split()[0]
        if not name.startswith("--"):
            return f"argument {shorten(name)!r} belongs to no option; check the quotes, or use --help for all options"
        return unknown_option(name[2:].partition("=")[0], key, classes, options)
    if match := re.search(r"following arguments are required: (.*)", leaf):
        within = f"{key}." if key else ""
        names = (re.sub(r"^(fit|validate|test|predict)\.", "", name) for name in match[1].split(", "))
        needed = ", ".join(f"--{within}{name}" for name in names)
        return f"{needed} must be given; pass a recipe with -c, such as -c configs/rooms.yaml, or set them"
    if match := re.match(r"argument (\S+): (.*)", leaf, re.DOTALL):
        name = match[1].rpartition("/")[2]
        typed = unfinished(name, given)
        return f"option {typed or match[1]}: {one_line(match[2])}; give it a value, such as {typed or name} VALUE"
    return bad_value(key or "an option", leaf, classes)


def unfinished(option: str, given: Sequence[str]) -> str:
    """Return the argument of a command line that has no value and sets a part of an option, or "" if there is none.

    The parser names only the option: `--data` instead of `--data.test_size`.
    """
    following = zip(given, [*given[1:], "--"], strict=False)
    return next((arg for arg, after in following if arg.startswith(f"{option}.") and after[:2] in ("--", "-c")), "")


def unknown_option(name: str, key: str, classes: Collection[str], options: Mapping[str, Collection[str]]) -> str:
    """Return one line for an option that does not exist.

    Args:
        name: dotted name of the option.
        key: key of the enclosing value, "" for the top level.
        classes: class paths that enclose the option, the outermost first.
        options: known names by prefix.
    """
    prefix, _, last = name.rpartition(".")
    names: Collection[str] = parameters(list(classes)[-1]) if classes else options.get(prefix, ())
    if not classes and prefix not in options:
        first, _, _ = name.partition(".")
        hint = nearest(first, options.get("", ()))
        return (
            f"option --{name} is unknown; {hint}" if first not in options.get("", ()) else f"{name} is unknown; {hint}"
        )
    if not classes and not prefix and (groups := groups_with(name, options)):
        return f"option {last!r} is unknown; use {' or '.join(f'--{group}.{name}' for group in groups)}"
    where = ".".join(part for part in (key, prefix) if part)
    return f"option {last!r}{f' of {where}' if where else ''} is unknown; {nearest(name, names)}"


def groups_with(name: str, options: Mapping[str, Collection[str]]) -> list[str]:
    """Return which of `model`, `trainer` and `data` have an option of a name.

    Args:
        name: name without a prefix, such as `fov`.
        options: known names by prefix.
    """
    groups = [prefix for prefix, names in options.items() if prefix and name in names]
    base = class_at("depthclip.data.module.DepthDataModule")
    kinds = [] if base is None else descendants(base)
    in_data = any(name in parameters(f"{kind.__module__}.{kind.__qualname__}") for kind in kinds)
    return [*groups, "data"] if in_data else groups


def bad_value(key: str, leaf: str, classes: Collection[str]) -> str:
    """Return one line for a value that does not fit its option.

    Args:
        key: dotted name of the option.
        leaf: message of the parser without the keys.
        classes: class paths that enclose the option, the outermost first.
    """
    given = re.findall(r"Given value: (.*)", leaf) or re.findall(r"Got value: (.*)", leaf)
    path = re.search(r"Expected a path but (.*?) either not accessible", leaf)
    if path and path[1].endswith((".yaml", ".yml", ".json")):
        return f"{key}: there is no file {shorten(path[1])}; pass the path of a YAML file, or the values"
    text = given[-1] if given else path[1] if path else ""
    value = f" {shorten(text)!r}" if text and not text.startswith("NestedArg") else ""
    if match := re.search(r"Importing '([\w.]+)' is not allowed", leaf):
        module = match[1].rpartition(".")[0]
        return f"{key} names {match[1]}, code outside this package; use --trust {module} if you trust that module"
    names = subclass_names(leaf)
    if (match := ABSENT.search(leaf)) is not None:
        named = (CLASS.findall(leaf) or [value.strip() or next(filter(None, match.groups()))])[-1]
        return f"{key} names {named}, which does not exist; {nearest(named, names)}"
    if (match := re.search(r"Expected a dot import path string: (\w+)", leaf)) and names and text.startswith("["):
        return f"{key} names {match[1]}, which is unknown; {nearest(match[1], names)}"
    if "Expected a dot import path" in leaf and names:
        return f"{key}{value} is unknown; {nearest(text, names)}"
    if (match := CHOICES.search(leaf)) is not None:
        example = text if repr(text) in match[1] else match[1].partition(",")[0].strip("'")
        return f"{key}{value} must be a list of {match[1]}, such as [{example}]"
    if types := expected_types(leaf):
        return f"{key}{value} must be {' or '.join(types)}"
    lines = [line.strip(" -") for line in leaf.splitlines() if line.strip(" -")]
    return f"{key}{value} cannot be used: {shorten(lines[-1] if lines else leaf, 300)}; check its name and value"


def expected_types(leaf: str) -> list[str]:
    """Return the types that the parser expected, in words, from its message."""
    if choices := re.findall(r"Literal\[([^\]]*)\]|[Ee]xpected one of \[?([^\]\n]*)", leaf):
        return [f"one of {''.join(choices[-1])}" + (" or null" if "NoneType" in leaf else "")]
    if union := re.findall(r"Subtypes: \[(.*)\]", leaf):
        names = re.split(r", (?![^\[]*\])", union[-1])
    else:
        names = re.findall(r"Expected an? (<class '[\w.]+'>|[\w.]+\[[^\]]*\])", leaf)[-1:]
    return list(dict.fromkeys(in_words(TYPE.sub(r"\1", name)) for name in names))


def in_words(name: str) -> str:
    """Return a type in words, such as `a list of numbers` for `tuple[float, float]`."""
    outer, _, inner = name.removesuffix("]").partition("[")
    kind = outer.rpartition(".")[2]
    if kind not in WORDS:
        return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"
    plurals = [PLURALS[part.strip()] for part in inner.split(",") if part.strip() in PLURALS]
    return WORDS[kind] + (f" of {plurals[0]}" if plurals and kind not in ("dict", "Mapping") else "")


def subclass_names(text: str) -> list[str]:
    """Return the names of the subclasses of the classes in a message of the parser."""
    names: list[str] = []
    for path in BASE.findall(text):
        if (base := class_at(path)) is not None and not is_dataclass(base):
            names += [base.__name__, *(kind.__name__ for kind in descendants(base))]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def descendants(base: type) -> Iterator[type]:
    """Yield the imported subclasses of a class, at any depth."""
    kinds: list[type] = base.__subclasses__()
    for kind in kinds:
        yield kind
        yield from descendants(kind)


def class_at(path: str) -> type | None:
    """Return the class at a dotted path, or None if its module is not imported yet; no module is imported."""
    module, _, name = path.rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)
    return kind if isinstance(kind, type) else None


def parameters(path: str) -> list[str]:
    """Return the names of the arguments of a class, such as `root` and `loading.batch_size`."""
    kind = class_at(path)
    names: list[str] = []
    for name, argument in (inspect.signature(kind).parameters if kind else {}).items():
        group = argument.annotation
        names += [f"{name}.{field.name}" for field in fields(group)] if is_dataclass(group) else [name]
    return [name for name in names if name != "self"]


def nearest(name: str, names: Collection[str]) -> str:
    """Return a hint that lists the names most similar to a name, or all names if none is similar."""
    if not names:
        return "check its name in the output of --help"
    last = name.rpartition(".")[2]
    if close := difflib.get_close_matches(name, names, n=3) or difflib.get_close_matches(last, names, n=3):
        return f"the nearest known {'names are' if len(close) > 1 else 'name is'} {', '.join(close)}"
    return f"known names are {', '.join(sorted(names)[:30])}"
