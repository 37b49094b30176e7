"""Alignments against least squares by NumPy and SciPy, and Spearman's correlation against SciPy's."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from depthclip.__main__ import main
from depthclip.data.batches import Item
from depthclip.evaluation import ScoredImage, Spearman
from depthclip.evaluation.evaluation import Evaluation
from depthclip.evaluation.metrics import ERRORS, depth_errors
from depthclip.evaluation.summary import plain_table
from depthclip.protocol import ALIGNMENTS, Box, Scoring, align_depth
from depthclip.protocol.alignment import fit_line
from depthclip.study import make_row
from depthclip.table import metrics_table, render
from tests.fake_runs import scored

ROOT = Path(__file__).parent.parent

TRANSFORMS = {
    "affine": (lambda z: z, lambda z: z),
    "log_affine": (np.log, np.exp),
    "disparity_affine": (lambda z: 1 / z, lambda z: np.where(z > 0, 1 / z, np.inf)),
}


def pair(seed, count=500):
    """Return float32 predictions (2, N) and a target (N,) that is related to them."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0.5, 9, count)
    prediction = np.stack([0.4 * target + 1, 3 + 0.2 * target**1.3]) * rng.uniform(0.8, 1.25, (2, count))
    return prediction.astype(np.float32), target.astype(np.float32)


def aligned(prediction, target, alignment):
    return align_depth(torch.as_tensor(prediction), torch.as_tensor(target), alignment).numpy()


def by_lstsq(prediction, target, alignment):
    """Return the aligned prediction by numpy.linalg.lstsq in float64."""
    p, g = prediction.astype(float), target.astype(float)
    if alignment == "scale":
        return p * np.linalg.lstsq(p[:, None], g)[0]
    forward, backward = TRANSFORMS[alignment]
    columns = np.stack([forward(p), np.ones_like(p)], 1)
    return backward(columns @ np.linalg.lstsq(columns, forward(g))[0])


@pytest.mark.parametrize("alignment", ["scale", *TRANSFORMS])
@pytest.mark.parametrize("seed", range(3))
def test_alignments_are_numpys_least_squares(alignment, seed):
    predictions, target = pair(seed)
    for p, found in zip(predictions, aligned(predictions, target, alignment), strict=True):
        np.testing.assert_allclose(found, by_lstsq(p, target, alignment), rtol=1e-6)


@pytest.mark.parametrize("alignment", TRANSFORMS)
def test_alignments_are_scipys_least_squares(alignment):
    (prediction, _), target = pair(7)
    forward, backward = TRANSFORMS[alignment]
    x, y = forward(prediction.astype(float)), forward(target.astype(float))
    fit = least_squares(lambda line: line[0] * x + line[1] - y, [1.0, 0.0], xtol=1e-15, ftol=1e-15, gtol=1e-15).x
    np.testing.assert_allclose(
        aligned(prediction[None], target, alignment)[0], backward(fit[0] * x + fit[1]), rtol=1e-6
    )


def test_a_weighted_line_is_numpys():
    rng = np.random.default_rng(4)
    x, y, weight = rng.normal(3, 1, 200), rng.normal(2, 1, 200), rng.uniform(0, 2, 200)
    line = fit_line(*map(torch.from_numpy, (x, y, weight)))
    slope, shift = np.polyfit(x, y, 1, w=np.sqrt(weight))
    np.testing.assert_allclose(line.at(torch.from_numpy(x)), slope * x + shift, rtol=1e-9)


def test_median_is_the_ratio_of_the_medians():
    predictions, target = pair(1)
    factor = np.median(target) / np.median(predictions, 1)
    np.testing.assert_allclose(aligned(predictions, target, "median"), predictions * factor[:, None], rtol=1e-6)
    np.testing.assert_array_equal(aligned(predictions, target, "none"), predictions)


@pytest.mark.parametrize("smallest", [0.0, 1e-42])  # a number by which 3 m cannot be divided in float32
def test_a_prediction_without_a_median_stays_as_it_is(smallest):
    predictions = np.array([[smallest, 0, 0, 0, 9], [1, 2, 4, 8, 9], [0, smallest, smallest, 5, 9]], np.float32)
    target = np.array([1, 2, 3, 4, 5], np.float32)
    expected = predictions * np.float32([[1], [3 / 4], [1]])
    np.testing.assert_array_equal(aligned(predictions, target, "median"), expected)
    errors = depth_errors(
        Scoring().limit(torch.tensor(predictions), torch.tensor(target), "median"), torch.tensor(target)
    )
    assert errors.isfinite().all()


@pytest.mark.parametrize(
    ("distort", "alignment", "weaker"),
    [
        (lambda g: 3 * g, "scale", "none"),
        (lambda g: 0.25 * g + 2, "affine", "scale"),
        (lambda g: 2 * g**0.5, "log_affine", "affine"),
        (lambda g: 1 / (0.3 / g + 0.1), "disparity_affine", "affine"),
    ],
)
def test_distorted_truth_is_perfect_in_its_alignment_and_no_weaker_one(distort, alignment, weaker):
    target = torch.from_numpy(pair(2)[1])
    scoring = Scoring(max_depth=10.0)
    for name, perfect in ((alignment, True), (weaker, False)):
        errors = depth_errors(scoring.limit(distort(target)[None], target, name), target)[0]
        figures = dict(zip(ERRORS, errors.tolist(), strict=True))
        assert (figures["abs_rel"] < 1e-5) == perfect
        assert (figures["rmse"] < 1e-4) == perfect
        if perfect:
            assert figures["delta1"] == 1


def test_an_image_is_aligned_alike_alone_and_beside_others():
    predictions, target = pair(3)
    for alignment in ALIGNMENTS:
        both = aligned(predictions, target, alignment)
        for k in range(2):
            np.testing.assert_array_equal(aligned(predictions[k : k + 1], target, alignment)[0], both[k])


@pytest.mark.parametrize(
    ("alignment", "mean"),
    [
        ("affine", np.mean),
        ("log_affine", lambda g: np.exp(np.log(g).mean())),
        ("disparity_affine", lambda g: 1 / np.mean(1 / g)),
    ],
)
def test_a_constant_becomes_a_mean_of_the_target(alignment, mean):
    target = pair(5)[1]
    for constant in (0.1, 2.0, 7.3):
        found = aligned(np.full((1, len(target)), constant, np.float32), target, alignment)
        np.testing.assert_allclose(found, mean(target.astype(float)), rtol=1e-6)


@pytest.mark.parametrize("alignment", [name for name in ALIGNMENTS if name != "none"])
def test_a_single_pixel_is_met(alignment):
    assert aligned([[2.0]], [5.0], alignment) == pytest.approx(5, rel=1e-6)
    assert aligned(np.zeros((2, 0), np.float32), np.zeros(0, np.float32), alignment).shape == (2, 0)


def test_depths_out_of_range_are_clamped():
    target = torch.tensor([1.0, 2.0, 8.0, 9.0])
    near = torch.tensor([[-1.0, 0.0, 6.0, 7.0]])
    assert Scoring(max_depth=8.5).limit(near, target, "affine")[0, -1] == 8.5
    assert Scoring(max_depth=8.5).limit(near, target, "scale")[0, :2].tolist() == pytest.approx([1e-3] * 2)
    # pixels without a logarithm or a disparity are left out of the fit and become the nearest depth
    for alignment in ("log_affine", "disparity_affine"):
        partly = torch.tensor([[0.0, 2.0, 8.0, 9.0]])
        expected = [0.0, *by_lstsq(np.array([2.0, 8, 9]), np.array([2.0, 8, 9]), alignment)]
        np.testing.assert_allclose(align_depth(partly, target, alignment)[0], expected, rtol=1e-6)
        assert align_depth(torch.zeros(1, 4), target, alignment).tolist() == [[0.0] * 4]
    assert align_depth(torch.zeros(1, 4), target, "scale").tolist() == [[0.0] * 4]


def test_a_disparity_that_is_not_positive_is_the_farthest_depth():
    prediction, target = torch.tensor([[1.0, 1.5, 2.0, 90.0]]), torch.tensor([1.0, 3.0, 9.0, 9.0])
    columns = np.stack([1 / prediction[0].numpy(), np.ones(4)], 1)
    disparity = columns @ np.linalg.lstsq(columns, 1 / target.numpy())[0]
    assert disparity[3] < 0
    assert align_depth(prediction, target, "disparity_affine")[0, 3] == float("inf")
    assert Scoring(max_depth=20.0).limit(prediction, target, "disparity_affine")[0, 3] == 20
    assert Scoring(max_depth=None).limit(prediction, target, "disparity_affine")[0, 3] == 9


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_a_depth_that_is_not_finite_stays_so(alignment):
    prediction = torch.tensor([[1.0, float("nan"), 3.0, 4.0]])
    assert align_depth(prediction, torch.tensor([1.0, 2.0, 3.0, 5.0]), alignment).isnan().any()


# ---- Spearman


def correlation(predictions, target, prediction=None):
    target = torch.as_tensor(target)
    raw = torch.as_tensor(predictions)
    mask = torch.ones(1, len(target), dtype=torch.bool)
    return Spearman().of(ScoredImage(raw if prediction is None else prediction, target, mask, unaligned=raw))


@pytest.mark.parametrize("decimals", [0, 1, 7])
def test_spearman_is_scipys(decimals):
    predictions, target = (x.round(decimals) for x in pair(8, 3000))
    expected = [[spearmanr(p, target).statistic] for p in predictions]
    np.testing.assert_allclose(correlation(predictions, target), expected, rtol=1e-12)


def test_spearman_ignores_alignment_and_clamping():
    predictions, target = pair(9)
    clamped = torch.as_tensor(predictions).clamp(2, 3)
    torch.testing.assert_close(correlation(predictions, target, clamped), correlation(predictions, target))
    assert correlation(-predictions, target)[0] == -correlation(predictions, target)[0]


@pytest.mark.parametrize("prediction", [[3.0] * 4, [1, float("nan"), 2, 3]])
def test_spearman_of_a_constant_is_not_defined(prediction):
    assert correlation([prediction], [1.0, 2, 3, 4]).isnan().all()
    assert correlation([[1.0]], [2.0]).isnan().all()


# ---- the command line


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folders of a run in all alignments with Spearman's correlation, and of a run under `affine`."""
    folder = tmp_path_factory.mktemp("runs")
    logger = '{"class_path": "pytorch_lightning.loggers.CSVLogger", "init_args": {"save_dir": "%s", "name": "%s"}}'
    quiet = ["--trainer.enable_progress_bar=false", "--model.panels=0", "--data.test_size=3"]
    options = {
        "all": [f"--model.alignments=[{','.join(ALIGNMENTS)}]", "--model.errors=[Spearman]"],
        "affine": ["--data.scoring.alignment=affine", "--data.loading.batch_size=2"],
    }
    for name, given in options.items():
        trainer = f"--trainer.logger={logger % (folder, name)}"
        assert main(["test", "-c", str(ROOT / "configs/rooms.yaml"), *quiet, trainer, *given]) == 0
    return {name: folder / name / "version_0" for name in options}


def test_a_run_scores_every_row_in_every_alignment(runs):
    metrics = {name: json.loads((folder / "metrics.json").read_text()) for name, folder in runs.items()}
    assert metrics["all"]["alignment"] == "none"
    assert list(metrics["all"]["aligned"]) == ["median", "scale", "affine", "log_affine", "disparity_affine"]
    assert "spearman" in metrics["all"]["higher_is_better"]
    # a further alignment has the figures that it has as the alignment of the protocol, for another batch size too
    assert metrics["affine"]["alignment"] == "affine"
    assert metrics["affine"]["aligned"] == {}
    for part in ("figures", "baselines"):
        for name, row in metrics["affine"][part].items():
            if name != "best constant (oracle)":
                assert metrics["all"]["aligned"]["affine"][name] == pytest.approx(row, rel=1e-5)
    with np.load(runs["all"] / "errors.npz") as file:
        names = metrics["all"]["aligned"]["scale"]
        assert file["rows"].tolist() == [*names] * 6
        assert file["alignment"].tolist() == [alignment for alignment in ALIGNMENTS for _ in names]
        assert file["higher"].tolist() == ["spearman"]
        assert np.isfinite(file["errors"][..., :9]).all()
        assert np.isfinite(file["errors"][0, :, 9]).all()
        assert np.isnan(file["errors"][len(names) :, :, 9]).all()


@pytest.mark.parametrize("protocol", ["none", "median"])
def test_none_is_a_further_alignment_of_any_protocol(protocol):
    device, outcomes = torch.device("cpu"), []
    target = torch.as_tensor(pair(6)[1]).reshape(20, 25)
    for alignments in ((), ("none",)):
        evaluation = Evaluation(("head",), None, device, alignments=alignments)
        item = Item(0, torch.zeros(3, 20, 25), target, Box(0, 0, 20, 25), "kitchen", "")
        evaluation.add(item, 1.5 * target[None], Scoring(alignment=protocol))
        outcomes.append(evaluation.outcome().result)
    assert outcomes[0].figures() == outcomes[1].figures()
    assert list(outcomes[1].aligned_figures()) == ([] if protocol == "none" else ["none"])
    unaligned = outcomes[1].aligned_figures().get("none", outcomes[1].figures())["head"]
    # predictions beyond 10 m are clamped
    expected = np.abs(np.minimum(1.5 * target.numpy(), 10) - target.numpy()) / target.numpy()
    assert unaligned["abs_rel"] == pytest.approx(expected.mean(), rel=1e-6)


def test_the_printed_table_names_the_alignment(runs):
    several, single = (metrics_table(json.loads((runs[n] / "metrics.json").read_text())) for n in ("all", "affine"))
    assert "alignment" in [column.header for column in several.columns]
    assert "spearman↑" in [column.header for column in several.columns]
    assert "affine" in single.title
    names, alignments = (list(several.columns[k].cells) for k in (0, 1))
    rows = [(str(name), alignment) for name, alignment in zip(names, alignments, strict=True)]
    assert ("random", "affine") in rows
    assert [each for each in rows if "best constant" in each[0]] == [("best constant (oracle)", "none")]
    assert "best constant (oracle), not aligned" in map(str, single.columns[0].cells)


@pytest.mark.parametrize(("protocol", "others"), [("median", {}), ("affine", {"none": {"head": {"abs_rel": 0.3}}})])
def test_the_best_constant_is_not_labelled_as_aligned(protocol, others):
    figures, best = {"head": {"abs_rel": 0.2}}, {"best constant (oracle)": {"abs_rel": 0.4}}
    metrics = {"alignment": protocol, "figures": figures, "baselines": best, "aligned": others, "published": {}}
    printed = render(metrics_table({**metrics, "higher_is_better": []}))
    (line,) = [line.split() for line in printed.splitlines() if "best constant" in line]
    expected = "best constant (oracle) none 0.400" if others else "best constant (oracle), not aligned 0.400"
    assert " ".join(line) == expected
    assert ["best constant (oracle)", "none", 0.4] in plain_table(metrics)[1]
    assert ["head", protocol, 0.2] in plain_table(metrics)[1]


def test_runs_are_compared_within_an_alignment(runs, tmp_path, capsys):
    folders = [f"{name}={folder}" for name, folder in runs.items()]
    assert main(["compare", *folders, "--out", str(tmp_path)]) == 0
    with (tmp_path / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    references = {(each["row"], each["alignment"]): each["reference"] for each in lines if each["error"] == "abs_rel"}
    assert references["affine", "affine"] == "all"
    assert references["random", "scale"] == "all"
    assert {(each["row"], each["alignment"]) for each in lines if each["error"] == "spearman"} >= {("all", "none")}
    assert all(each["alignment"] == "none" for each in lines if each["error"] == "spearman")
    table = (tmp_path / "table.md").read_text()
    assert "| alignment |" in table
    assert "| best constant for each error (oracle) | none |" in table
    assert main(["compare", f"a={runs['affine']}", f"b={runs['affine']}", "--out", str(tmp_path / "same")]) == 0
    assert "| best constant for each error (oracle), not aligned |" in (tmp_path / "same/table.md").read_text()
    assert main(["compare", *folders, "--out", str(tmp_path), "--error", "spearman"]) == 0
    assert r"spearman$\uparrow$" in (tmp_path / "table.tex").read_text()
    assert main(["compare", *folders, "--out", str(tmp_path), "--error", "mine"]) == 2
    assert "--error mine is unknown" in capsys.readouterr().err


def test_a_further_figure_is_averaged_where_it_is_defined():
    first, second = (scored([0.1, 0.2, 0.3, 0.4]) for _ in range(2))
    values = np.array([[0.9, np.nan, 0.5, 0.7], [0.8, 0.1, np.nan, 0.6]])
    rows = [
        replace(each, errors=np.c_[each.errors, more], columns=(*ERRORS, "spearman"), higher=("spearman",))
        for each, more in zip((first, second), values, strict=True)
    ]
    reference = make_row("a", False, rows[:1], None, {})
    row = make_row("b", False, rows[1:], reference, {})
    assert row.figures["spearman"].value == pytest.approx(0.5)
    assert row.difference["spearman"].value == pytest.approx(0.5 - 0.7)
    assert row.figures["spearman"].low >= 0.1
    plain = make_row("b", False, [second], None, {})
    assert all(row.figures[error] == plain.figures[error] for error in ERRORS)
    better = make_row("c", False, [replace(rows[0], errors=rows[0].errors + 0.2)], reference, {})
    assert (better.verdict_of("spearman"), better.verdict_of("rmse")) == ("better", "worse")
    nowhere = make_row("d", False, [replace(rows[0], errors=np.c_[first.errors, np.full(4, np.nan)])], reference, {})
    assert "spearman" not in nowhere.figures
    assert nowhere.verdict_of("spearman") == ""
