"""Commands in docs/: the parser accepts every `python -m depthclip`, and the modules of all commands exist."""

import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from depthclip.__main__ import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """Return the lines of the code blocks of a page, with continued lines joined and without comments."""
    blocks = re.findall(r"^```(?:bash|sh|shell|console)?\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines]


RUNS = sorted(
    {
        command.partition("-m depthclip ")[2]
        for page in PAGES
        if page.parent.name == "docs"  # tests/test_readme.py runs those of the README
        for command in commands(page)
        if "-m depthclip " in command
        and "depthclip compare " not in command  # tests/test_compare.py runs those
        and not re.search(r"depthclip app\b|recipe\.yaml", command)  # tests/test_app.py runs those
        and "--ckpt_path" not in command  # tests/test_ordinal_words.py trains, then runs those
    }
)


@pytest.mark.parametrize("run", RUNS)
def test_the_parser_accepts(run, tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*shlex.split(run), "--print_config"])
    assert ended.value.code == 0, capsys.readouterr().err


def test_the_pages_have_commands():
    assert len(RUNS) >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_commands_name_exist(page):
    for module in re.findall(r"python -m ((?:depthclip|experiments)[\w.]*\w)", page.read_text()):
        if not module.endswith("NAME"):
            assert find_spec(module) is not None, module
