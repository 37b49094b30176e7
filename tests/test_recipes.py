"""The recipes that come with the package: their names, their lookup, and the installed files."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from depthclip import recipes
from depthclip.__main__ import main
from depthclip.errors import InputError
from depthclip.recipes import expand, find

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "configs").rglob("*.yaml"))
NAMES = {path.relative_to(ROOT / "configs").as_posix()[: -len(".yaml")] for path in FILES}


def test_every_file_has_a_name_and_whole_runs_come_first():
    assert set(recipes.names()) == NAMES
    assert len(recipes.names()) == len(FILES)
    folders = ["/" in name for name in recipes.names()]
    assert folders == sorted(folders)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_the_first_line_is_a_comment_that_is_complete(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert len(first) <= 130
    assert first[-1] not in ",;:-"


@pytest.mark.parametrize("name", ["model/rn50", "model/rn50.yaml", "configs/model/rn50", "configs/model/rn50.yaml"])
def test_a_name_is_found_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find(name).samefile(ROOT / "configs/model/rn50.yaml")


def test_a_file_of_that_name_wins_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rooms").mkdir()
    assert find("rooms").samefile(ROOT / "configs/rooms.yaml")
    Path("kitti").write_text("name: mine\n")
    assert find("kitti") == Path("kitti")
    assert expand(["test", "-c", "kitti", "--config=kitti"]) == ["test", "-c", "kitti", "--config=kitti"]


@pytest.mark.parametrize(
    ("name", "near"),
    [("romms", "rooms"), ("rn50", "model/rn50"), ("model/kiti_log", "model/kitti_log"), ("learn/rn50", "model/rn50")],
)
def test_an_unknown_name_gets_the_nearest(name, near):
    with pytest.raises(InputError, match=f"{name}.*nearest names are .*{near}.*depthclip recipes"):
        find(name)


def test_a_name_that_is_near_to_none_gets_no_guess():
    with pytest.raises(InputError) as caught:
        find("x" * 5000)
    assert "nearest names" not in str(caught.value)


def test_only_names_of_recipes_are_replaced():
    at = ROOT / "configs"
    assert expand(["test", "-c", "rooms", "-c=trainer/ddp", "--model", "model/rn50", "--data=data/nyu.yaml"]) == [
        "test",
        *("-c", str(at / "rooms.yaml"), f"-c={at / 'trainer/ddp.yaml'}"),
        *("--model", str(at / "model/rn50.yaml"), f"--data={at / 'data/nyu.yaml'}"),
    ]
    others = ["fit", "--data", "Rooms", "--data=mine.Rooms", "--name", "rooms", "--data.root", "data/nyu", "-c", "{}"]
    assert expand(others) == others


@pytest.mark.parametrize("option", ["-c", "--config", "--model", "--data"])
def test_unknown_names_are_refused_where_a_file_is_expected(option):
    with pytest.raises(InputError, match="model/nothing"):
        expand(["test", option, "model/nothing"])
    with pytest.raises(InputError, match="model/nothing"):
        expand(["test", f"{option}=model/nothing"])


def test_the_list_has_each_first_line(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for path in FILES:
        name = path.relative_to(ROOT / "configs").with_suffix("").as_posix()
        (line,) = (line for line in lines if line.split() and line.split()[0] == name)
        assert line.endswith(path.read_text().splitlines()[0][2:])


def test_a_run_by_name_from_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cpu = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false"]
    few = [f"--data.{split}_size=4" for split in ("train", "val", "test")]
    assert main(["test", "-c", "rooms", *few, *cpu]) == 0
    assert (tmp_path / "runs/rooms/version_0/metrics.json").exists()
    assert main(["test", "-c", "romms"]) == 2
    assert "nearest names are rooms" in capsys.readouterr().err


def test_a_recipe_finds_its_parts_from_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["test", "-c", "kitti", "--data.root", "elsewhere", "--print_config"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "depthclip.head.LogBins" in printed
    assert "root: elsewhere" in printed


@pytest.mark.slow
def test_a_wheel_has_the_recipes_and_runs_without_the_clone(tmp_path):
    source, target, empty = (tmp_path / name for name in ("source", "target", "empty"))
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("depthclip", "configs"):
        shutil.copytree(ROOT / folder, source / folder, ignore=skipped)
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f"depthclip/configs/{name}.yaml" for name in NAMES} <= held
    assert {path.partition("/")[0] for path in held} == {"depthclip", wheel.name.partition("-py3")[0] + ".dist-info"}

    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", str(target), str(wheel)], check=True)
    empty.mkdir()

    def depthclip(*args: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(target)}
        command = [sys.executable, "-m", "depthclip", *args]
        return subprocess.run(command, cwd=empty, env=environment, check=True, capture_output=True, text=True).stdout

    listed = depthclip("recipes")
    assert {line.split()[0] for line in listed.splitlines() if line.split()} >= NAMES
    assert str(target / "depthclip/configs") in listed
    few = ["--data.test_size", "4", "--trainer.accelerator", "cpu"]
    assert "4 images scored" in depthclip("test", "-c", "rooms", *few)
