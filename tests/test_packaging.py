"""Metadata that has to agree between files: setup.cfg, pyproject.toml, constraints.txt, workflows, CITATION.cff."""

import configparser
import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from setuptools import find_packages

from depthclip import __version__

ROOT = Path(__file__).parent.parent
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")
OPTIONAL = CONFIG["options.extras_require"]
LISTS = [CONFIG["options"]["install_requires"], *OPTIONAL.values()]
REQUIREMENTS = [Requirement(line) for text in LISTS for line in text.splitlines() if line.strip()]
TESTED = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)


def test_setup_cfg_lists_every_package():
    listed = set(CONFIG["options"]["packages"].split())
    assert listed == {*find_packages(str(ROOT), include=["depthclip*"]), "depthclip.configs"}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_requirement_has_a_floor_and_allows_the_tested_version(requirement):
    if requirement.name.startswith("types-"):
        return
    assert any(part.operator == ">=" for part in requirement.specifier)
    tested = {canonicalize_name(name): version for name, version in TESTED.items()}
    version = tested.get(canonicalize_name(requirement.name))
    if version is not None:
        assert version in requirement.specifier
    else:
        assert str(requirement) in OPTIONAL["hf"] or requirement.name == "setuptools"  # not installed by .ci/run


def test_python_versions_agree():
    versions = {
        line.rpartition(" ")[2]
        for line in CONFIG["metadata"]["classifiers"].split("\n")
        if re.search(r":: 3\.\d+$", line)
    }
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    assert set(jobs["tests"]["strategy"]["matrix"]["python"]) == versions
    oldest = min(versions, key=lambda version: int(version.partition(".")[2]))
    assert jobs["minimum"]["steps"][1]["with"]["python-version"] == oldest
    requires = CONFIG["options"]["python_requires"]
    assert f'requires-python = "{requires}"' in (ROOT / "pyproject.toml").read_text()
    assert all(version in SpecifierSet(requires) for version in versions)
    assert f"py{oldest.replace('.', '')}" in (ROOT / "ruff.toml").read_text()


def test_only_the_prereleases_may_fail():
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    assert [name for name, job in jobs.items() if job.get("continue-on-error")] == ["prereleases"]
    assert any("--pre" in step.get("run", "") for step in jobs["prereleases"]["steps"])


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["license"] == CONFIG["metadata"]["license"]


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem
)
def test_issue_forms_have_the_keys_that_forms_need(form):
    content = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= set(content)
    ids = [part["id"] for part in content["body"]]
    assert len(ids) == len(set(ids))
    assert all(part["type"] in {"textarea", "input", "dropdown", "checkboxes"} for part in content["body"])
    assert all("label" in part["attributes"] for part in content["body"])
