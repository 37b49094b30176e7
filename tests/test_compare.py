"""Comparison of runs and studies: figures computed by hand, separate test sets, and LaTeX checked by a parser."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthclip.__main__ import main
from depthclip.cli import resolve
from depthclip.evaluation.metrics import ERRORS
from depthclip.study.collect import Results, collect
from depthclip.study.compare import compare_runs, labels_of
from depthclip.study.files import read_scores
from depthclip.study.latex import latex_table
from depthclip.study.plan import Pass, Variant
from depthclip.study.tables import Layout, save_tables
from tests.fake_runs import errors_like, write_run

ROOT = Path(__file__).parent.parent


@pytest.fixture
def runs(tmp_path):
    """Three runs on 60 images with two skipped; the second run is better than the first, the third equally good."""
    rng = np.random.default_rng(3)
    errors = rng.uniform(0.1, 0.5, (60, len(ERRORS)))
    pixels = [0, -1, *rng.integers(50, 99, 58).tolist()]
    others = (errors - 0.02 + rng.normal(0, 0.03, errors.shape), errors + rng.normal(0, 0.03, errors.shape))
    baselines = {"random": errors + 1, "training constant": errors + 0.5}
    given = {"plain": errors, "better": others[0], "same": others[1]}
    for name, head in given.items():
        write_run(tmp_path / name / "version_0", {"head": head}, baselines, pixels=pixels)
    return tmp_path, {name: head[2:] for name, head in given.items()}


def by_hand(differences, draws=2000):
    """Return mean, 95 % bootstrap interval and two-sided p-value of differences (N,), image by image."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(differences), np.full(len(differences), 1 / len(differences)), size=draws)
    means = np.array([sum(k * d for k, d in zip(row, differences, strict=True)) / len(differences) for row in counts])
    p = 2 * (1 + min((means <= 0).sum(), (means >= 0).sum())) / (draws + 1)
    return (differences.mean(), *np.percentile(means, [2.5, 97.5])), min(1, p)


def arguments(folder, *names):
    return [str(folder / name / "version_0") for name in names]


def test_intervals_and_corrections_are_those_computed_by_hand(runs, capsys):
    folder, errors = runs
    out = folder / "out"
    assert main(["compare", *arguments(folder, "plain", "better", "same"), "--out", str(out)]) == 0
    with (out / "table.csv").open(newline="") as file:
        rows = {(row["row"], row["error"]): row for row in csv.DictReader(file)}
    p = {}
    for name in ("better/version_0", "same/version_0"):
        head = errors[name.partition("/")[0]]
        for k, error in enumerate(ERRORS):
            row = rows[name, error]
            expected, p[name, error] = by_hand(head[:, k] - errors["plain"][:, k])
            measured = [float(row[key]) for key in ("difference_value", "difference_low", "difference_high")]
            assert measured == pytest.approx(expected, abs=1e-12)
            assert float(row["p"]) == pytest.approx(p[name, error])
            assert row["reference"] == "plain/version_0"
    # four comparisons: two runs, and two baselines that are worse in every draw
    smallest = 2 / 2001
    compared = {name: p[name, "abs_rel"] for name in ("better/version_0", "same/version_0")}
    compared |= {"random": smallest, "training constant": smallest}
    running = 0.0
    for rank, (name, value) in enumerate(sorted(compared.items(), key=lambda item: item[1])):
        running = max(running, min(1, (4 - rank) * value))
        assert float(rows[name, "abs_rel"]["p_holm"]) == pytest.approx(running)
    output = capsys.readouterr().out
    assert "58 images of Rooms" in output
    assert "corrected for the 4 comparisons" in output
    assert re.search(r"better/version_0 .* better +better, p = 0\.00", output)
    assert re.search(r"same/version_0 .* no clear difference +no clear difference, p = ", output)
    assert Image.open(out / "figure.png").size > (600, 200)
    assert "| plain/version_0 |" in (out / "table.md").read_text()


def test_it_agrees_with_a_study_of_the_same_runs(runs):
    folder, _ = runs
    passes = []
    for name in ("plain", "better"):
        run = folder / name / "version_0"
        (run / "finished.json").write_text('{"seconds": 1}')
        passes.append(Pass((Variant(name),), {"seed_everything": 0}, run, False))
    study = collect("Why?", passes, {})
    compared = compare_runs(arguments(folder, "plain", "better"))
    names = ["plain", "better", "random", "training constant"]
    assert [row.name for row in study.rows] == names
    for one, other in zip(study.rows, compared.rows, strict=True):
        assert one.figures == other.figures
        assert one.difference == other.difference
    # the folder of a study can be compared with a run
    save_tables(study, Layout(), "", folder / "study")
    again = compare_runs([str(folder / "study"), f"third={folder / 'same' / 'version_0'}"])
    assert [row.name for row in again.rows][:3] == ["study: plain", "study: better", "third"]
    assert again.rows[1].difference == study.rows[1].difference
    assert len(again.rows) == 5  # equal baselines occur once


def test_other_images_and_other_pixels_are_kept_apart(tmp_path, monkeypatch):
    write_run(tmp_path / "a", {"head": [0.1, 0.2], "b": [0.2, 0.2]})
    write_run(tmp_path / "other_images", {"head": [0.1, 0.2], "b": [0.4, 0.5]}, images=["x", "y"])
    write_run(tmp_path / "other_protocol", {"head": [0.1, 0.2]}, pixels=[100, 99])
    write_run(tmp_path / "other_data", {"head": [0.1, 0.2]}, data="NYU")
    write_run(tmp_path / "c", {"head": [0.3, 0.3]})
    names = ["a", "other_images", "other_protocol", "other_data", "c"]
    monkeypatch.chdir(tmp_path)
    results = compare_runs(names)
    references = {row.name: row.reference for row in results.rows}
    assert references == {
        "a: head": "",
        "a: b": "a: head",
        "c": "a: head",
        "other_images: head": "",
        "other_images: b": "other_images: head",
        "other_protocol": "",
        "other_data": "",
    }
    assert main(["compare", *names]) == 0
    text = Path("results/compare/table.md").read_text()
    assert "A: 2 images of Rooms; B: 2 images of Rooms; C: 2 images of Rooms; D: 2 images of NYU" in text
    assert "| a: b | A |" in text
    drawn = []
    monkeypatch.setattr("depthclip.study.pictures.save_figure", lambda figure, path: drawn.append(figure))
    assert main(["compare", *names]) == 0
    labels = [[label.get_text() for label in axis.get_yticklabels()] for axis in drawn[0].axes[::2]]
    expected = [["a: head", "a: b", "c"], ["other_images: head", "other_images: b"], ["other_protocol"], ["other_data"]]
    assert labels == expected


def test_a_study_keeps_its_test_sets_and_seeds(tmp_path):
    passes = []
    content = {"zero": [0.1, 0.2], "few, 0": [0.3, 0.4], "few, 1": [0.5, 0.8], "there": [0.5, 0.7]}
    for name, errors in content.items():
        images = ["x", "y"] if name == "there" else None
        run = write_run(tmp_path / name, {"head": errors}, images=images)
        (run / "finished.json").write_text('{"seconds": 1}')
        variant = Variant(name, row=name.partition(",")[0])
        passes.append(Pass((variant,), {"seed_everything": 0}, run, False))
    study = collect("Why?", passes, {})
    written = save_tables(study, Layout(), "", tmp_path / "study")
    assert [path.name for path in written[3:]] == ["errors.npz", "errors_1.npz"]
    with np.load(written[3]) as file:
        assert set(file) == {"errors", "rows", "error", "image", "scene", "pixels"}
        assert file["rows"].tolist() == ["zero", "few", "few"]
        assert file["errors"].shape == (3, 2, 9)
    assert [name for name, _ in read_scores(written[4], "")] == ["there"]
    results = compare_runs([str(tmp_path / "study")])
    assert [row.name for row in results.rows] == ["zero", "few", "there"]
    assert results.find("few").figures["abs_rel"].value == pytest.approx(0.5)
    assert results.find("few").difference == study.find("few").difference


def test_another_error_is_compared_in_its_direction(runs, capsys):
    folder, _ = runs
    given = arguments(folder, "plain", "better")
    assert main(["compare", *given, "--error", "delta1", "--out", str(folder / "out")]) == 0
    # a delta that is lower by 0.02 is worse
    assert re.search(r"better/version_0 .* worse +worse, p = 0\.00", capsys.readouterr().out)
    header = (folder / "out" / "table.md").read_text().splitlines()[0]
    assert header.startswith("|  | delta1↑ | Δ delta1 | compared | Holm | abs_rel↓ |")


def test_names_of_the_user_and_paths_without_what_they_share(runs, tmp_path):
    folder, _ = runs
    given = arguments(folder, "plain", "better")
    assert [row.name for row in compare_runs([f"x={given[0]}", given[1]]).rows][:2] == ["x", "better/version_0"]
    assert labels_of([Path("runs/a/version_0"), Path("runs/a/version_1")]) == ["version_0", "version_1"]
    assert labels_of([Path("a"), Path("a/b")]) == ["a", "a/b"]
    assert labels_of([Path("/x/a")]) == ["/x/a"]


def tabular(text):
    """Return the cells of a LaTeX tabular; raise if braces, columns, math or special characters are wrong."""
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text) == ["tabular"]
    depth = 0
    for character in re.sub(r"\\[{}\\]", "", text):
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    columns = re.search(r"\\begin\{tabular\}\{([lrc]+)\}", text).group(1)
    body = text.partition("\n\\toprule\n")[2].partition("\n\\bottomrule\n")[0]
    rows = []
    for line in body.split("\n"):
        if line == "\\midrule":
            continue
        assert line.endswith(r" \\")
        cells = re.split(r"(?<!\\)&", line.removesuffix(r" \\"))
        assert len(cells) == len(columns)
        assert not line.startswith(("[", "*"))  # LaTeX would read them as an argument of the previous line
        for cell in cells:
            plain = re.sub(r"(?<!\\)\$[^$]*(?<!\\)\$", "", cell)  # without math
            plain = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum)\{\}", "", plain)
            assert not re.search(r"(?<!\\)[$#%_^~]|[<>|]|[^\x00-\x7f]", plain), cell
            assert not re.search(r"\\(?![&%$#_{}])", plain), cell
        rows.append([cell.strip() for cell in cells])
    return rows


NASTY = ["50% of a_b & c", "[0.1] {x}", r"C:\temp #1 ~ ^", "*a < b | c > d$", "plain - name"]


def test_latex_is_well_formed_whatever_rows_are_called(tmp_path):
    write_run(tmp_path / "a", {"head": [0.1, 0.2], **{name: [0.3, 0.1] for name in NASTY}}, {"random": [2.0, 3.0]})
    results = compare_runs([str(tmp_path / "a")])
    text = latex_table(results, Layout("rmse", holm=True, test_sets=True))
    rows = tabular(text)
    assert rows[0][:5] == ["", "test set", r"rmse$\downarrow$", r"$\Delta$ rmse", "compared"]
    assert rows[2][0] == r"50\% of a\_b \& c"
    assert rows[3][0] == r"{[}0.1] \{x\}"
    assert rows[4][0] == r"C:\textbackslash{}temp \#1 \textasciitilde{} \textasciicircum{}"
    assert rows[5][0] == r"{*}a $<$ b $|$ c $>$ d\$"
    assert rows[6][0] == "plain - name"
    assert rows[2][1] == "A"
    assert "$-$" in text  # a minus sign of an interval
    assert text.count("\\midrule") == 2  # below the header, and above the baselines
    assert "booktabs" in text


def test_published_figures_and_oracles_stand_below(tmp_path):
    baselines = {"random": [1.0, 1.0]}
    for name in ("a", "b"):
        folder = write_run(tmp_path / name, {"head": [0.1, 0.2]}, baselines, published={"a paper": {"rmse": 0.5}})
        text = (folder / "metrics.json").read_text()
        best = '"baselines": {"best constant (oracle)": {"abs_rel": 0.25}, '
        (folder / "metrics.json").write_text(text.replace('"baselines": {', best))
    results = compare_runs([str(tmp_path / "a"), str(tmp_path / "b")])
    assert isinstance(results, Results)
    assert results.oracle == {"best constant for each error (oracle)": {"abs_rel": 0.25}}
    assert results.published == {"a paper": {"rmse": 0.5}}


def test_a_real_run_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = resolve(["test", "-c", "configs/rooms.yaml"])["model"]["head"]["init_args"] | {"temperature": 0.2}
    variant = json.dumps({"sharper": {"class_path": "depthclip.DepthHead", "init_args": arguments}})
    quiet = ["--trainer.enable_progress_bar=false", "--model.panels=0", "--data.test_size=3"]
    logger = '{"class_path": "pytorch_lightning.loggers.CSVLogger", "init_args": {"save_dir": "%s", "name": "run"}}'
    given = ["-c", "configs/rooms.yaml", f"--model.variants={variant}", *quiet, f"--trainer.logger={logger % tmp_path}"]
    assert main(["test", *given]) == 0
    run = tmp_path / "run" / "version_0"
    assert main(["compare", str(run), "--out", str(tmp_path / "out")]) == 0
    results = compare_runs([str(run)])
    with np.load(run / "errors.npz") as file:
        heads = file["errors"][:2, :, ERRORS.index("rmse")]
    change = results.find("sharper").difference["rmse"].value
    assert change == pytest.approx(heads[1].mean() - heads[0].mean())


def test_further_figures_are_read_behind_the_nine_errors(tmp_path):
    folder = write_run(tmp_path / "a", {"head": [0.1, 0.2]})
    with np.load(folder / "errors.npz") as file:
        content = dict(file)
    more = np.concatenate([np.full((1, 2, 1), 7.0), content["errors"]], 2)
    np.savez(folder / "errors.npz", **{**content, "errors": more, "error": ["mine", *ERRORS], "higher": ["mine"]})
    ((_, scored),) = read_scores(folder / "errors.npz", "Rooms")
    assert (scored.columns, scored.higher) == ((*ERRORS, "mine"), ("mine",))
    assert scored.errors[:, :9] == pytest.approx(errors_like([0.1, 0.2]))
    assert scored.column("mine").tolist() == [7, 7]
