"""The recipes that come with the package: their names, their lookup, and the installed files."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import open_clip
import pytest
import yaml

from depthclip import recipes
from depthclip.__main__ import main
from depthclip.cli import resolve
from depthclip.errors import InputError
from depthclip.head.prompts import WORDS
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
    recipe = json.loads((tmp_path / "runs/rooms/version_0/metrics.json").read_text())["recipe"]
    assert recipe["data"]["init_args"]["scoring"] == WHOLE  # all fields of the default preset
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


KITTI = {
    "crop": "kb",
    "size": None,
    "max_side": None,
    "mirror": True,
    "align_corners": False,
    "window": None,
    "stride": None,
    "focal": None,
}
GARG_SEEN = {
    "min_depth": 0.001,
    "max_depth": 80.0,
    "crop": "garg",
    "crop_of": "seen",
    "clamp": None,
    "resample": "bilinear",
    "alignment": "none",
}
WHOLE = {**GARG_SEEN, "max_depth": 10.0, "crop": None, "crop_of": "truth"}
INLINE = "{model: model.yaml, data: {class_path: KITTI, init_args: {root: x, view: PRESET}}}"


def resolved(*args):
    """Return the view, the scoring and the model of a command line."""
    recipe = resolve(["test", *args])
    data = recipe["data"]["init_args"]
    return data["view"], data["scoring"], recipe["model"]


@pytest.mark.parametrize(
    "args",
    [
        ["-c", "kitti"],
        ["--model", "model/rn50", "--data", "data/kitti"],
        ["--model", "model/rn50", "--data", "KITTI", "--data.root", "x"],
        ["--model", "model/rn50", "--data", "KITTI", "--data.view", "kitti", "--data.scoring=garg_kitti_seen"],
    ],
)
def test_presets_are_spelled_out_and_single_fields_change(args):
    assert resolved(*args)[:2] == (KITTI, GARG_SEEN)
    single = ["--data.view.mirror", "false", "--data.init_args.scoring.max_depth", "50"]
    assert resolved(*args, *single)[:2] == ({**KITTI, "mirror": False}, {**GARG_SEEN, "max_depth": 50.0})


@pytest.mark.parametrize("preset", ["{preset: kitti, mirror: false}", "{mirror: false, preset: kitti}"])
def test_a_preset_with_a_field_changed(preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "configs/model/rn50.yaml", "model.yaml")
    Path("run.yaml").write_text(INLINE.replace("PRESET", preset))
    changed = {**KITTI, "mirror": False}
    assert resolved("-c", "run.yaml")[0] == changed
    assert resolved("-c", INLINE.replace("PRESET", preset))[0] == changed
    assert resolved("-c", INLINE.replace("PRESET", "whole"), "--data.view", preset)[0] == changed
    assert resolved("-c", "run.yaml", "--data.view.align_corners=true")[0] == {**changed, "align_corners": True}
    assert resolved("-c", "run.yaml", "--data.view", "kitti")[0] == KITTI
    given = ["--model.training_scoring", "{preset: whole, max_depth: 3}", "--model.training_scoring.min_depth=1"]
    assert resolved("-c", "run.yaml", *given)[2]["training_scoring"] == {**WHOLE, "max_depth": 3.0, "min_depth": 1.0}


@pytest.mark.parametrize("name", ["KITTI", "NYU", "Make3D", "Pairs", "Rooms"])
def test_a_single_field_keeps_the_default_view_of_a_data_module(name):
    needs = ["--data.root", "x", "--data.table", "x.csv"] if name == "Pairs" else []
    given = ["test", "--model", "model/rn50", "--data", name, *needs]
    default = resolve(given)["data"]["init_args"]["view"]
    changed = resolve([*given, "--data.view.max_side", "77"])["data"]["init_args"]["view"]
    assert changed == {**default, "max_side": 77}


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ("kiti", "view 'kiti' is no preset; choose one of depthclip_nyu, .*kitti"),
        ("{preset: kiti, mirror: true}", "view 'kiti' is no preset; choose one of depthclip_nyu, .*kitti"),
        (
            "{preset: kitti, miror: true}",
            "option of view 'miror' is unknown; choose one of crop, size, .*mirror",
        ),
        ("{preset: [kitti]}", "view .'kitti'. is no preset; choose one of"),
    ],
)
def test_an_unknown_preset_or_field_is_named(preset, message):
    inline = INLINE.replace("PRESET", preset).replace("model.yaml", "configs/model/rn50.yaml")
    options = (["--data.view", preset], [f"--data.init_args.view={preset}"])
    for args in (["-c", inline], *(["-c", "kitti", *option] for option in options)):
        with pytest.raises(InputError, match=message):
            resolve(["test", *args, "--data.view.mirror", "false"])


def test_a_list_of_parts_is_applied_in_order(tmp_path, monkeypatch):
    (tmp_path / "parts").mkdir()
    shutil.copy(ROOT / "configs/model/rn50.yaml", tmp_path / "parts/model.yaml")
    (tmp_path / "parts/data.yaml").write_text(
        "class_path: KITTI\ninit_args: {root: x, view: kitti, loading: {batch_size: 3}}\n"
    )
    (tmp_path / "run.yaml").write_text(
        "name: mine\n"
        "model: [parts/model.yaml, {head: {temperature: 0.3}, panels: 1}, {panels: 2}]\n"
        "data: [parts/data.yaml, {init_args: {view: {mirror: false}}}]\n"
    )
    monkeypatch.chdir(ROOT)
    recipe = resolve(["test", "-c", str(tmp_path / "run.yaml"), "--model.max_side", "99"])
    model, data = recipe["model"], recipe["data"]["init_args"]
    assert (recipe["name"], model["encoder"]["init_args"]["name"]) == ("mine", "RN50-quickgelu")
    assert (model["head"]["init_args"]["temperature"], model["panels"], model["max_side"]) == (0.3, 2, 99)
    assert (data["root"], data["loading"]["batch_size"], data["view"]) == ("x", 3, {**KITTI, "mirror": False})


@pytest.mark.parametrize("name", sorted(name for name in NAMES if name.startswith("data/")))
def test_every_data_recipe_is_spelled_out(name):
    data = resolve(["test", "--model", "model/rn50", "--data", name])["data"]["init_args"]
    if name == "data/photos":
        assert data["view"] is None  # the view of infer
        return
    assert data["view"].keys() == KITTI.keys()
    assert data["scoring"].keys() == GARG_SEEN.keys()


TOWERS = {  # the same head on every tower; TIPSv2 has the logit scale of OpenAI's CLIP
    "clipa_h14_336",
    "convnext_l_320",
    "eva02_l14_336",
    "metaclip2_h14",
    "mobileclip2_b",
    "mobileclip2_s4",
    "pe_b16",
    "pe_l14_336",
    "rn50",
    "siglip2",
    "siglip2_so400m",
    "tipsv2_l14",
    "vit_b16",
    "vit_l14_336",
    "vitamin_l_336",
}


@pytest.mark.parametrize("name", sorted(TOWERS))
def test_every_tower_has_weights_and_the_same_sentences(name):
    text = (ROOT / f"configs/model/{name}.yaml").read_text()
    recipe = yaml.safe_load(text)
    encoder, head = recipe["encoder"], recipe["head"]
    scale = head.pop("logit_scale", None)
    assert head == {"prompts": {"words": "depthclip"}, "bins": {"values": "depthclip"}, "temperature": 0.1}
    if name == "tipsv2_l14":
        assert scale == 100
        assert encoder["class_path"] == "depthclip.encoder.TIPS"
        return
    assert scale is None
    assert open_clip.is_pretrained_cfg(encoder["name"], encoder["pretrained"])
    trained = open_clip.get_pretrained_cfg(encoder["name"], encoder["pretrained"]).get("quick_gelu", False)
    assert open_clip.get_model_config(encoder["name"]).get("quick_gelu", False) == trained
    model = resolve(["test", "--model", f"model/{name}", "--data", "data/nyu"])["model"]
    assert model["encoder"]["init_args"]["readout"] == encoder["readout"]


def test_monodepth2s_652_have_a_recipe():
    """Monodepth2's evaluate_depth.py has no crop and no cap for eigen_benchmark, and clamps predictions to 80 m."""
    view, scoring, _ = resolved("--model", "model/rn50", "--data", "data/kitti_652")
    assert view == {**KITTI, "crop": None, "size": [192, 640]}
    assert scoring == {
        "min_depth": 0.0,
        "max_depth": None,
        "crop": None,
        "crop_of": "truth",
        "clamp": [0.001, 80.0],
        "resample": "bilinear",
        "alignment": "median",
    }


def test_the_released_run_is_the_released_model_with_published_figures():
    released = resolve(["test", "--model", "model/released", "--data", "data/nyu"])
    run = resolve(["test", "-c", "nyu_released"])
    published = run["model"].pop("published")
    # arXiv 2207.01077, Table 1
    assert [source["abs_rel"] for source in published.values()] == [0.388, 0.393, 1.327]
    assert released["model"].pop("published") is None
    assert (run["model"], run["data"]) == (released["model"], released["data"])


@pytest.mark.parametrize("part", ["model: []", "model: [1, 2]", "model: [[x]]", "data: []", "data: [null]"])
def test_a_list_that_holds_no_parts_is_refused(part, tmp_path):
    (tmp_path / "run.yaml").write_text(f"{part}\n")
    with pytest.raises(InputError, match=r"run.yaml: (model|data) \[.*\] must hold keys with values, or be a list of"):
        resolve(["test", "-c", str(tmp_path / "run.yaml")])


def test_the_recipe_in_two_languages_differs_in_the_sentences_only():
    model = resolve(["test", "-c", "nyu_xlm_roberta_b32"])["model"]
    encoder = model["encoder"]["init_args"]
    assert encoder["pretrained"] in open_clip.list_pretrained_tags_by_model(encoder["name"])
    english, german = (head["init_args"] for head in (model["head"], model["variants"]["german"]))
    prompts = german.pop("prompts")["init_args"]
    assert english.pop("prompts")["init_args"]["words"] == "depthclip"
    assert len(prompts["words"]) == len(WORDS["depthclip"])
    assert prompts["templates"] == ["Dieses {object} ist {distance}"]
    assert german == english
