"""Bad input of every kind: no traceback, hang, crash or silent acceptance, and one sentence that helps."""

import importlib
import pkgutil

import pytest

import tests.bad
from tests.bad.judge import Case, verdict


def cases() -> list[Case]:
    modules = [name for _, name, _ in pkgutil.iter_modules(tests.bad.__path__) if name != "judge"]
    return [case for name in sorted(modules) for case in importlib.import_module(f"tests.bad.{name}").CASES]


@pytest.mark.parametrize("case", cases(), ids=str)
def test_bad_input_gets_one_sentence(case, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert verdict(case, tmp_path) == ""
