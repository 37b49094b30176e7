"""Studies: shared image passes, interrupted studies, and the table of the paper."""

import ast
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from depthclip.__main__ import main as depthclip_main
from depthclip.cli import resolve
from depthclip.evaluation.metrics import ERRORS
from depthclip.study.collect import collect, distinct_baselines
from depthclip.study.command import main, parse
from depthclip.study.pictures import draw_rows
from depthclip.study.plan import Pass, StudyError, Variant, plan_passes
from depthclip.study.run import run_passes
from depthclip.study.study import arguments_of
from depthclip.study.tables import Layout, save_tables
from experiments import few_shot, prompt_learning, prompt_words, reproduce, temperature, towers
from experiments.__main__ import main as list_studies
from tests.fake_runs import scored, write_run

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def root(monkeypatch):
    """Studies run in the root of the repository."""
    monkeypatch.chdir(ROOT)


def test_every_error_of_a_study_is_averaged_over_its_seeds(tmp_path):
    errors = np.array([[[0.1], [0.4]], [[0.3], [0.8]], [[0.2], [0.6]]]) * np.arange(1, 10)  # (seeds, images, errors)
    passes = [
        finished(tmp_path / str(seed), Variant(f"few, seed {seed}", row="few"), rows={"head": errors[seed]})
        for seed in range(3)
    ]
    results = collect("Why?", passes, {})
    save_tables(results, Layout(), "", tmp_path / "study")
    with (tmp_path / "study" / "table.csv").open(newline="") as file:
        values = {row["error"]: float(row["value"]) for row in csv.DictReader(file)}
    # by hand: (.1 + .4 + .3 + .8 + .2 + .6) / 6 = .4 for the first error, twice that for the second, ...
    expected = [0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8, 3.2, 3.6]
    assert [values[error] for error in ERRORS] == pytest.approx(expected)
    assert results.find("few").scored[1].errors[:, 0] == pytest.approx([0.3, 0.8])


def test_baselines_that_differ_have_separate_rows():
    def names(*members):
        return [name for name, _ in distinct_baselines({"map": list(members)})]

    one, other = scored([0.1, 0.2]), scored([0.3, 0.4])
    assert names(("a", one), ("b", one)) == ["map"]
    assert names(("a", one), ("b", other), ("c", one)) == ["map, a", "map, b"]


def finished(folder, *variants, **content):
    """Return a finished pass with files of its run."""
    write_run(folder, **content)
    (folder / "finished.json").write_text('{"seconds": 1}')
    return Pass(tuple(variants), {"seed_everything": 0}, folder, False)


def test_a_study_reads_the_files_of_its_runs(tmp_path):
    few = [Variant(f"few, seed {seed}", row="few") for seed in range(2)]
    passes = [
        finished(tmp_path / "a", Variant("zero"), rows={"head": [0.2, 0.4]}, baselines={"random": [2.0, 3.0]}),
        finished(tmp_path / "b", few[0], rows={"head": [0.1, 0.3]}, baselines={"random": [2.0, 3.0]}),
        finished(tmp_path / "c", few[1], rows={"head": [0.1, 0.1]}, baselines={"random": [2.0, 3.0]}),
        finished(tmp_path / "d", Variant("elsewhere"), rows={"head": [0.5, 0.5]}, images=["x", "y"]),
    ]
    results = collect("Why?", passes, {})
    assert [row.name for row in results.rows] == ["zero", "few", "elsewhere", "random"]
    assert results.find("few").figures["abs_rel"].value == pytest.approx(0.15)
    assert results.find("few").difference["abs_rel"].value == pytest.approx(0.15 - 0.3)
    assert results.find("elsewhere").difference == {}
    assert results.find("nothing") is None
    assert [[row.name for row in rows] for rows in results.test_sets()] == [["zero", "few", "random"], ["elsewhere"]]


def test_a_figure_has_axes_for_each_test_set(tmp_path, monkeypatch):
    passes = [
        finished(tmp_path / name, Variant(name), rows={"head": [0.2, 0.4]}, pixels=pixels)
        for name, pixels in (("a", [5, 5]), ("b", [5, 5]), ("c", [5, 6]))
    ]
    drawn = []
    monkeypatch.setattr("depthclip.study.pictures.save_figure", lambda figure, path: drawn.append(figure))
    draw_rows(collect("Costs $5 or $6?", passes, {}), tmp_path / "figure.png")
    rows = [[label.get_text() for label in axis.get_yticklabels()] for axis in drawn[0].axes]
    assert rows == [["a", "b"], [], ["c"], []]  # the axes of a row share their labels


def test_studies_draw_and_note_what_is_left_when_variants_failed(tmp_path):
    only = [finished(tmp_path / "a", Variant("zero-shot"), rows={"head": [0.2, 0.4]})]
    results = collect("Why?", only, {"words and bins learned": "the run was ended by SIGTERM"})
    few_shot.draw_shots(results, tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").size > (600, 300)
    assert "words and bins learned has" not in prompt_learning.verdicts(results)


def passes_of(study, args=()):
    options = parse(study, ["--quick", *args])
    return plan_passes(study.variants(options, {}), lambda variant: arguments_of(study, options, variant), options.out)


def test_variants_share_an_image_pass_unless_they_differ_in_more_than_the_head():
    members = [
        Variant("a"),
        Variant("b, 0.5", {"model.head.temperature": 0.5}),
        Variant("c", {"model.encoder.readout": "crops"}),
        Variant("d", {"model.head.bins": {"class_path": "depthclip.head.LearnedBins"}}, learn=True),
    ]
    passes = passes_of(replace(temperature.STUDY, variants=lambda options, head: members))
    assert [[variant.name for variant in image_pass.variants] for image_pass in passes] == [
        ["a", "b, 0.5"],
        ["c"],
        ["d"],
    ]
    assert all(
        image_pass.recipe["name"].startswith("run-") for image_pass in passes
    )  # YAML reads 465e95993509 as a number
    assert passes[0].recipe["model"]["variants"]["b, 0.5"]["init_args"]["temperature"] == 0.5
    assert passes[2].command(None)[:4] == ["python", "-m", "depthclip", "learn"]
    assert passes[0].command("2")[-2:] == ["--trainer.devices", "2"]


def test_settings_that_are_refused_name_themselves():
    wrong = replace(temperature.STUDY, variants=lambda options, head: [Variant("a", {"model.head.sharpness": 1})])
    with pytest.raises(StudyError, match=r"sharpness.*is refused.*sharpness"):
        passes_of(wrong)


def test_dry_run_prints_commands_that_can_be_run_and_runs_nothing(tmp_path, capsys):
    assert main(temperature.STUDY, ["--quick", "--dry-run", "--out", str(tmp_path)]) == 0
    command = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("python -m depthclip test"))
    assert Path(command.split()[-1]).is_file()
    assert not (tmp_path / "runs").exists()


def test_recipes_are_found_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(temperature.STUDY, ["--quick", "--dry-run"]) == 0
    assert "temperature" in capsys.readouterr().out


def test_few_shot_averages_over_seeds():
    options = parse(few_shot.STUDY, ["--quick"])
    bins = {"class_path": "depthclip.Bins", "init_args": {"values": "depthclip"}}
    head = {"prompts": {"class_path": "depthclip.Prompts", "init_args": {"words": "depthclip"}}, "bins": bins}
    rows = [variant.row for variant in few_shot.variants(options, head)]
    assert all(rows.count(few_shot.row_of(shots)) == 3 for shots in few_shot.SHOTS)


def test_all_towers_have_the_same_sentences_on_each_data_set():
    options = parse(towers.STUDY, [])
    variants = towers.variants(options, {})
    assert len(variants) == len(towers.TOWERS) * len(towers.SETS)
    # all towers on the first data set, and two of them on the others, because reading a recipe takes most of a second
    first, two = next(iter(towers.SETS)), ("rn50", "pe_b16")
    built = [variant for variant in variants if variant.on == first or variant.name.startswith(two)]
    passes = plan_passes(built, lambda variant: arguments_of(towers.STUDY, options, variant), options.out)
    assert len(passes) == len(built)  # no two towers share a pass
    by_data = {}
    for image_pass in passes:
        head = image_pass.recipe["model"]["head"]["init_args"]
        protocol = json.dumps([head["prompts"], head["bins"], head["temperature"], image_pass.recipe["data"]])
        by_data.setdefault(image_pass.variants[0].on, set()).add(protocol)
    assert {data: len(protocols) for data, protocols in by_data.items()} == dict.fromkeys(towers.SETS, 1)


def test_towers_has_a_table_for_each_data_set(tmp_path):
    passes = [
        finished(tmp_path / name.replace(" ", "_"), Variant(name, on=on), rows={"head": errors}, pixels=pixels)
        for name, on, errors, pixels in (
            ("rn50 on nyu", "nyu", [0.5, 0.7], [5, 5]),
            ("pe_b16 on nyu", "nyu", [0.2, 0.4], [5, 5]),
            ("rn50 on kitti", "kitti", [0.6, 0.6], [5, 6]),
        )
    ]
    table = towers.by_data(collect("Why?", passes, {}))
    lines = [line for line in table.splitlines() if line.startswith(("**", "| rn50", "| pe", "| Depth"))]
    names = [line.split(" | ")[0].strip("| *") for line in lines]
    assert names == [
        *("nyu", "pe_b16 on nyu", "rn50 on nyu", "DepthCLIP, released code (published)"),
        *("kitti", "rn50 on kitti", "DepthCLIP, as MfH quotes it (published)"),
    ]
    assert "| 0.300 |" in lines[1]  # the mean of .2 and .4
    assert "| 0.388 |" in lines[3]  # arXiv 2207.01077, Table 1


def test_the_quick_towers_are_the_bundled_one_and_random_ones_that_say_so():
    names = [variant.name for variant in passes_of_names(towers.STUDY)]
    assert names[0].startswith("tiny-rooms")
    assert all(name.endswith("(random weights)") for name in names[1:])


def passes_of_names(study):
    return [variant for image_pass in passes_of(study) for variant in image_pass.variants]


def command(out, *more):
    small = [f"--set=data.{split}_size={size}" for split, size in (("test", 3), ("train", 2))]
    small.append("--set=model.panels=0")
    return [sys.executable, "-m", "experiments.prompt_words", "--quick", *small, "--out", str(out), *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a study that was not interrupted."""
    out = tmp_path_factory.mktemp("whole")
    subprocess.run(command(out), check=True, capture_output=True, cwd=ROOT)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_study_that_was_killed_goes_on(tmp_path, whole, number):
    process = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (finished := list(tmp_path.glob("runs/*/finished.json"))):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, number)
    _, output = process.communicate()
    assert process.returncode == (143 if number == signal.SIGTERM else -9)
    assert number == signal.SIGKILL or output == ("error: ended by SIGTERM; use --resume to run the remaining passes\n")
    assert not (tmp_path / "table.md").exists()
    before = finished[0].stat().st_mtime_ns

    done = subprocess.run(command(tmp_path, "--resume"), check=True, capture_output=True, text=True)
    assert "1 of 2 image passes finished before" in done.stdout
    assert finished[0].stat().st_mtime_ns == before
    for name in ("table.md", "table.csv"):
        assert (tmp_path / name).read_text() == (whole / name).read_text()


@pytest.mark.slow
def test_results_are_those_of_the_errors_themselves(whole):
    with (whole / "table.csv").open(newline="") as file:
        rows = {(row["row"], row["error"]): float(row["value"]) for row in csv.DictReader(file)}
    with np.load(whole / "errors.npz") as file:
        names, errors = file["rows"].tolist(), file["errors"]
    mean = errors[names.index("crops: five"), :, ERRORS.index("rmse")].mean()
    assert rows["crops: five", "rmse"] == pytest.approx(mean)
    results = json.loads((whole / "results.json").read_text())
    assert len(results["runs"]) == 2
    assert len(results["rows"]) == 2 * 9 + 3
    assert Image.open(whole / "figure.png").size > (600, 300)


@pytest.mark.slow
def test_a_pass_that_was_ended_by_sigterm_failed_and_is_repeated(tmp_path, whole):
    process = subprocess.Popen(command(tmp_path), stdout=subprocess.PIPE, text=True)
    while not (pids := children(process.pid)):
        time.sleep(0.05)
    os.kill(pids[0], signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "failed: the run was ended by SIGTERM" in output
    assert "Not scored: " in (tmp_path / "table.md").read_text()
    subprocess.run(command(tmp_path, "--resume"), check=True, capture_output=True)
    assert (tmp_path / "table.md").read_text() == (whole / "table.md").read_text()


def children(pid):
    """Return the ids of the passes that a study runs; it also runs git for a moment."""
    ids = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in ids if "depthclip" in command_line(child)]


def command_line(pid):
    """Return the command line of a process, "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.fixture
def runs_as(tmp_path, monkeypatch):
    """Replace the command of passes by a script, in which {folder} is the folder of the run."""
    source = write_run(tmp_path / "source", {"head": [0.1, 0.2]})

    def runs_as(script):
        def command(image_pass, devices):
            return ["python", "-c", script.format(folder=str(image_pass.folder), source=str(source))]

        monkeypatch.setattr(Pass, "command", command)

    return runs_as


WHOLE = "import os, shutil, sys; shutil.copytree({source!r}, {folder!r}, dirs_exist_ok=True)"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("print('looks well')", "ended early.*metrics.json does not exist"),
        (
            f"{WHOLE}; open({{folder!r}} + '/metrics.json', 'r+').truncate(40)",
            "ended early.*metrics.json cannot be read",
        ),
        (f"{WHOLE}; open({{folder!r}} + '/errors.npz', 'r+').truncate(40)", "ended early.*errors.npz cannot be read"),
        (f"{WHOLE}; os.kill(os.getpid(), 15)", "ended by SIGTERM"),
        (f"{WHOLE}; sys.exit(143)", "ended by SIGTERM"),
        (f"{WHOLE}; sys.exit('disk full')", r"disk full \(exit code 1"),
        ("import sys; sys.exit(3)", r"printed nothing \(exit code 3"),
    ],
)
def test_a_pass_without_whole_results_failed(tmp_path, runs_as, script, reason):
    console = Console(file=io.StringIO(), width=400)
    image_pass = Pass((Variant("a"),), {}, tmp_path / "runs" / "run-1", False)
    runs_as(script)
    failed = run_passes([image_pass], None, False, console)
    assert re.search(reason, failed["a"])
    assert not image_pass.finished
    runs_as(WHOLE)
    assert run_passes([image_pass], None, True, console) == {}
    assert image_pass.finished
    runs_as("raise SystemExit(1)")
    assert run_passes([image_pass], None, True, console) == {}  # it is not repeated


def test_a_finished_pass_whose_files_broke_is_repeated(tmp_path):
    image_pass = finished(tmp_path / "a", Variant("x"), rows={"head": [0.1, 0.2]})
    assert image_pass.finished
    content = (image_pass.folder / "metrics.json").read_bytes()
    (image_pass.folder / "metrics.json").write_bytes(content[:-20])
    assert not image_pass.finished
    (image_pass.folder / "metrics.json").write_bytes(content)
    (image_pass.folder / "errors.npz").write_bytes(b"")
    assert not image_pass.finished


def test_the_table_is_printed_before_it_is_written(tmp_path, runs_as, capsys):
    runs_as(WHOLE)
    study = replace(temperature.STUDY, variants=lambda options, head: [Variant("the recipe")])
    (tmp_path / "table.md").mkdir()  # which makes writing fail
    assert main(study, ["--quick", "--out", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert "0.150 [0.100, 0.200]" in output.out
    assert "table.md cannot be written" in output.err


def test_resolve_is_the_recipe_that_the_command_line_prints(capsys):
    given = ["test", "-c", "configs/rooms.yaml", "--model.head.temperature", "0.5"]
    recipe = resolve(given)
    assert capsys.readouterr().out == ""
    assert recipe["model"]["head"]["init_args"]["temperature"] == 0.5
    assert recipe["model"]["head"]["init_args"]["logit_scale"] is None  # a default
    assert recipe["data"]["init_args"]["train_size"] == 400
    assert recipe["trainer"]["max_epochs"] is None


def test_learning_is_followed_by_a_test_with_what_was_learned(tmp_path):
    logger = {"class_path": "pytorch_lightning.loggers.CSVLogger"}
    logger["init_args"] = {"save_dir": str(tmp_path), "name": "run", "version": ""}
    small = [f"--data.init_args.{split}_size=4" for split in ("train", "val", "test")]
    more = [f"--trainer.logger={json.dumps(logger)}", "--trainer.max_epochs=2", "--trainer.enable_progress_bar=false"]
    assert depthclip_main(["learn", "-c", "configs/learn/rooms.yaml", *small, *more]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["images"] == 4
    assert "train/loss" in (tmp_path / "run" / "metrics.csv").read_text()


def test_experiments_lists_the_studies(capsys):
    list_studies()
    output = capsys.readouterr().out
    for study in (temperature.STUDY, few_shot.STUDY):
        assert f"python -m experiments.{study.name}\n  {study.question}" in output


def test_experiments_are_short_and_ask_one_question_of_public_names():
    for path in (ROOT / "experiments").glob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) < 120, path
        assert "tiny_rooms.captions" not in text
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("depthclip"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert not [name for name in names if name.startswith("_")], path


def test_the_engine_knows_only_the_command_line_and_files():
    allowed = {"atomic", "cli", "errors", "evaluation", "figure_files", "recipes", "signals", "study", "version"}
    for path in (ROOT / "depthclip" / "study").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("depthclip."):
                assert (node.module or "").split(".")[1] in allowed, (path, node.module)


@pytest.fixture
def nyu(tmp_path):
    """Two images and depth maps of NYU's size with a list file."""
    rng = np.random.default_rng(0)
    for k in range(2):
        Image.fromarray(rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)).save(tmp_path / f"rgb_{k}.jpg")
        Image.fromarray(rng.integers(500, 9000, (480, 640)).astype(np.uint16)).save(tmp_path / f"depth_{k}.png")
    (tmp_path / "test.txt").write_text("".join(f"/rgb_{k}.jpg /depth_{k}.png 518.8579\n" for k in range(2)))
    return tmp_path


def test_reproduce_goes_the_same_way_with_golden_weights(tmp_path, golden_weights, nyu):
    data = [f"--set=data.root={nyu}", f"--set=data.test_list={nyu / 'test.txt'}", "--set=data.allow_partial=true"]
    weights = f"--set=model.encoder.pretrained={golden_weights}"
    assert main(reproduce.STUDY, [*data, weights, "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| abs_rel |" in text
    assert "0.388" in text
    assert "FAIL" in text  # the weights are random


def test_reproduce_says_what_to_fetch_and_where(tmp_path, golden_weights, capsys):
    given = [f"--set=model.encoder.pretrained={golden_weights}", f"--set=data.root={tmp_path / 'none'}"]
    assert main(reproduce.STUDY, [*given, "--out", str(tmp_path / "out")]) == 2
    output = capsys.readouterr().err
    assert "nyu_depth_v2_labeled.mat" in output
    assert "data/nyu" in output


@pytest.mark.network
def test_published_figures_are_reproduced(tmp_path):
    assert main(reproduce.STUDY, ["--out", str(tmp_path)]) == 0
    measured = json.loads((tmp_path / "results.json").read_text())["rows"]["measured"]["figures"]
    for error, published in prompt_words.PUBLISHED["depthclip"].items():
        assert measured[error]["value"] == pytest.approx(published, rel=reproduce.TOLERANCE), error
