"""Recipes that are no files, no text, no YAML, or no recipes."""

import os
from pathlib import Path

from depthclip.recipe_files import LONGEST_LIST, MOST_VALUES, load_yaml, read_recipe
from tests.bad.command_line import WHOLE, command, parse, recipe
from tests.bad.judge import Case

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 10)
)
DOUBLING = "a0: &a0 {x: 1}\n" + "".join(f"a{k}: &a{k} {{l: *a{k - 1}, r: *a{k - 1}}}\n" for k in range(1, 40))


def file(name: str, content: str | bytes, *names: str) -> Case:
    """Return the case of a recipe file."""

    def run(folder: Path) -> None:
        path = folder / "bad.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        read_recipe(str(path))

    return Case("recipe", name, run, ("bad.yaml", *names))


def place(name: str, make, *names: str, path: str = "bad.yaml") -> Case:
    """Return the case of a path that leads to no file; whole, as a recipe and as a file of a model."""

    def run(folder: Path) -> str | None:
        make(folder)
        return command("test", "-c", path)

    return Case("recipe path", name, run, names or (path,))


def whole(name: str, *names: str, **changes) -> Case:
    """Return the case of a recipe whose parts do not fit."""
    return Case("recipe parts", name, lambda folder: parse("test", "-c", recipe(folder, **changes)), names)


def inline(name: str, text: str, *names: str) -> Case:
    return Case("YAML value", name, lambda folder: load_yaml(text) and None, names)


def forbidden(folder: Path) -> None:
    (folder / "bad.yaml").write_text("name: x")
    (folder / "bad.yaml").chmod(0)


CASES = [
    file("empty", "", "empty"),
    file("spaces", "   \n\n", "empty"),
    file("a comment", "# nothing\n"),
    file("a word", "hello\n", "hello"),
    file("a number", "3\n", "3"),
    file("a list", "[1, 2]\n"),
    file("null", "null\n"),
    file("not UTF-8", b"name: caf\xe9\n", "UTF-8", "9"),
    file("UTF-16", "name: x\n".encode("utf-16"), "UTF-8"),
    file("binary", bytes(range(256)), "UTF-8"),
    file("a picture", b"\x89PNG\r\n\x1a\n" + bytes(100), "UTF-8"),
    file("control characters", "name: \x01\x02\n", "YAML"),
    file("an open bracket", "model: [1,\n", "line"),
    file("a wrong bracket", "model: [1}\n", "line 1"),
    file("a tab", "model:\n\tpanels: 1\n", "line 2"),
    file("indentation", "model:\n  a: 1\n b: 2\n", "line"),
    file("two colons", "name: a: b\n", "line 1"),
    file("an open quote", "name: 'x\n", "line"),
    file("an unknown alias", "name: *x\n", "line 1"),
    file("a tag that runs code", "name: !!python/object/apply:os.system [ls]\n", "python"),
    file("an unknown tag", "name: !mine x\n", "!mine"),
    file("two documents", "name: a\n---\nname: b\n", "document"),
    file("a key twice", "name: a\nname: b\n", "'name'"),
    file("a key twice below", "model:\n  panels: 1\n  panels: 2\n", "'panels'"),
    file("a list as key", "? [1, 2]\n: 3\n"),
    file("a loop", "model: &a {head: *a}\n", "*a"),
    file("a loop of lists", "model: {variants: &b [*b]}\n", "*b"),
    file("a billion laughs", LAUGHS, str(MOST_VALUES)),
    file("doubling", DOUBLING, str(MOST_VALUES)),
    file("deep lists", "a: " + "[" * 5000 + "]" * 5000, "50"),
    file("deep mappings", "a: " + "{a: " * 3000 + "1" + "}" * 3000, "50"),
    file("a list of a million", f"name: [{'1, ' * 1_000_000}1]", str(MOST_VALUES)),
    file("a list of ten thousand", f"name: [{'1, ' * 10_000}1]", "10001", str(LONGEST_LIST)),
    file("20 MB", "# " + "x" * 20_000_000, "20000002"),
    file("a model file", "encoder: {name: RN50}\nhead: {}\n", "--model"),
    file("a data file", "class_path: depthclip.data.Rooms\ninit_args: {}\n", "--data"),
    file("model is a list", "model: [1, 2]\n", "model", "[1, 2]"),
    file("model is a number", "model: 3\n", "model", "3"),
    file("trainer is a list", "trainer: [max_epochs]\n", "trainer"),
    file("trainer is null", "trainer: null\n", "trainer"),
    place("gone", lambda folder: None),
    place("a folder", lambda folder: (folder / "bad.yaml").mkdir(), "folder", "bad.yaml"),
    place("a pipe", lambda folder: os.mkfifo(folder / "bad.yaml"), "pipe", "bad.yaml"),
    place("a link to nothing", lambda folder: (folder / "bad.yaml").symlink_to("nowhere")),
    place("a loop of links", lambda folder: (folder / "bad.yaml").symlink_to("bad.yaml")),
    place("a device", lambda folder: None, path="/dev/zero"),
    place("an empty path", lambda folder: None, "recipe", path=""),
    place("a null byte", lambda folder: None, "recipe", path="a\x00b"),
    place("a long path", lambda folder: None, "recipe", path="x" * 5000 + ".yaml"),
    place("a text", lambda folder: None, path="name: x"),
    place("braces that hold a loop", lambda folder: None, "*a", path="{model: &a {head: *a}}"),
    place("an address", lambda folder: None, path="http://127.0.0.1:9/recipe.yaml"),
    *([] if os.geteuid() == 0 else [place("no permission", forbidden)]),
    Case("recipe path", "a pipe for the head", lambda folder: os.mkfifo(folder / "head.yaml")
         or parse("test", "-c", recipe(folder), "--model.head", "head.yaml"), ("head.yaml",)),
    Case("recipe path", "a loop in a file of the model", lambda folder: (folder / "m.yaml").write_text("head: &a [*a]")
         and parse("test", "-c", recipe(folder), "--model", "m.yaml"), ("*a",)),
    whole("an unknown key", "modle", modle={}),
    whole("an unknown key with values", "modle", "model", modle={"panels": 1}),
    whole("an unknown key of the model", "bins", "model", model={**WHOLE["model"], "bins": [1, 2]}),
    whole("an unknown key of the trainer", "max_epoch", "max_epochs", trainer={"max_epoch": 3}),
    whole("an unknown key of data", "tset_size", "test_size",
          data={"class_path": "depthclip.data.Rooms", "init_args": {"tset_size": 1}}),
    whole("no data", "data", data=None),
    whole("a number as text", "panels", "many", model={**WHOLE["model"], "panels": "many"}),
    whole("a class that is none", "depthclip.data.Rooom", data={"class_path": "depthclip.data.Rooom"}),
    whole("a class of another kind", "depthclip.losses.SILog", data={"class_path": "depthclip.losses.SILog"}),
    inline("a loop", "&a [*a]", "*a"),
    inline("a billion laughs", f"{{{LAUGHS.strip().replace(chr(10), ', ')}}}", str(MOST_VALUES)),
    inline("deep", "[" * 1000 + "]" * 1000, "50"),
    inline("a key twice", "{a: 1, a: 2}", "'a'"),
]  # fmt: skip
