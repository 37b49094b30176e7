"""Ordinal words, the ordinal loss and the monotonicity of words, against NumPy and SciPy."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from depthclip import DepthCLIP
from depthclip.__main__ import main
from depthclip.errors import InputError
from depthclip.head import (
    Bins,
    ConditionalContext,
    DepthHead,
    Head,
    LearnedBins,
    LearnedWords,
    LogBins,
    OrdinalWords,
    Prompts,
)
from depthclip.head.monotonicity import monotonicity, word_monotonicity
from depthclip.losses import LossInput
from depthclip.ordinal_loss import EarthMover
from depthclip.study import Results, monotonicity_table

PAGE = Path(__file__).parent.parent / "docs" / "ordinal.md"

# ---- words


@pytest.mark.parametrize(
    ("interpolation", "placement", "weights"),
    [
        # words at 0, 1/4, 1/2, 3/4, 1 and anchors at 0, 1/2, 1, by hand
        ("neighbours", "ends", [[1, 0, 0], [1 / 2, 1 / 2, 0], [0, 1, 0], [0, 1 / 2, 1 / 2], [0, 0, 1]]),
        (
            "linear",
            "ends",
            [[2 / 3, 1 / 3, 0], [3 / 7, 3 / 7, 1 / 7], [1 / 4, 1 / 2, 1 / 4], [1 / 7, 3 / 7, 3 / 7], [0, 1 / 3, 2 / 3]],
        ),
        ("inverse", "ends", [[1, 0, 0], [3 / 7, 3 / 7, 1 / 7], [0, 1, 0], [1 / 7, 3 / 7, 3 / 7], [0, 0, 1]]),
        # words at 1/10, 3/10, 1/2, 7/10, 9/10
        ("neighbours", "centres", [[0.8, 0.2, 0], [0.4, 0.6, 0], [0, 1, 0], [0, 0.6, 0.4], [0, 0.2, 0.8]]),
    ],
)
def test_weights_by_hand(interpolation, placement, weights):
    words = OrdinalWords(5, 3, interpolation=interpolation, placement=placement)
    np.testing.assert_allclose(words.weights.numpy(), weights, atol=1e-7)


@pytest.mark.parametrize("interpolation", ["linear", "inverse"])
def test_weights_are_those_of_ordinalclips_code(interpolation):
    """The formula of its `RankPromptLearner`, whose unit is a rank, in NumPy."""
    ranks, base = 11, 4
    distances = np.abs(np.linspace(0, ranks - 1, base)[None] - np.arange(ranks)[:, None])
    rules = {"linear": 1 - distances / (ranks - 1), "inverse": 1 / (distances + 1e-5)}
    expected = rules[interpolation] / rules[interpolation].sum(1, keepdims=True)
    words = OrdinalWords(ranks, base, interpolation=interpolation)
    np.testing.assert_allclose(words.weights.numpy(), expected, atol=2e-5)


def prepared(prompts, text):
    prompts.prepare(text)
    return prompts


@pytest.mark.parametrize("interpolation", ["neighbours", "inverse"])
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_as_many_anchors_as_words_are_learned_words(clip, interpolation, precision):
    text = clip("small-vit", "tokens").text
    template = "{context:1} object {distance:2}"
    ordinal = prepared(OrdinalWords(4, 4, template, interpolation), text)
    learned = prepared(LearnedWords(4, template), text)
    learned.load_state_dict(ordinal.state_dict())
    with torch.autocast("cpu", precision, enabled=precision is not None):
        torch.testing.assert_close(ordinal(text), learned(text), rtol=0, atol=0)


def test_words_are_features_of_interpolated_vectors(clip):
    text = clip("small-vit", "tokens").text
    ordinal = prepared(OrdinalWords(9, 3), text)
    learned = prepared(LearnedWords(9), text)
    # between anchors at 0, 1/2 and 1, linear in each coordinate
    at, anchors = np.linspace(0, 1, 9), ordinal.tokens.detach()[:, 0].numpy()
    vectors = np.stack([np.interp(at, [0, 0.5, 1], column) for column in anchors.T], 1)
    learned.load_state_dict({"tokens": torch.tensor(vectors, dtype=torch.float32)[:, None]})
    torch.testing.assert_close(ordinal(text), learned(text), rtol=1e-5, atol=1e-6)


def test_parameters_do_not_depend_on_the_number_of_words_and_are_all_trained(clip):
    text = clip("small-vit", "tokens").text
    few, many = (prepared(OrdinalWords(k, 3, "{context:2} {distance}"), text) for k in (5, 50))
    shapes = [{name: tuple(p.shape) for name, p in each.named_parameters()} for each in (few, many)]
    assert shapes[0] == shapes[1] == {"tokens": (3, 1, text.width), "context": (2, text.width)}
    assert list(many.state_dict()) == ["tokens", "context"]
    many(text)[:, 0].sum().backward()
    assert all(p.grad.flatten(1).abs().sum(1).gt(0).all() for p in many.parameters())


# ---- another number of bins


def test_a_checkpoint_is_tested_with_another_number_of_bins(clip, tmp_path):
    encoder = clip("small-vit", "tokens")
    template = "{context:2} {distance}"
    trained = DepthCLIP(encoder, DepthHead(OrdinalWords(7, 3, template), LogBins(7, 1, 8)))
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": trained.state_dict(), "depthclip_recipe": trained.recipe()}, path)
    for bins in (LogBins(20, 1, 8), Bins(range(1, 21))):
        model = DepthCLIP(encoder, DepthHead(OrdinalWords(20, 3, template), bins)).load_learned(path)
        assert torch.equal(model.head.prompts.tokens, trained.head.prompts.tokens)
        features = model.head.word_features(encoder.text)
        # the ends are anchors for any number of words
        torch.testing.assert_close(features[[0, -1]], trained.head.word_features(encoder.text)[[0, -1]])
    refused = "the checkpoint has 7 bins; give the head as many instead of 20"
    for prompts, bins in (
        (OrdinalWords(20, 4, template), LogBins(20)),  # another number of anchors
        (OrdinalWords(20, 3, template), LearnedBins(LogBins(20))),
        (LearnedWords(20, template), LogBins(20)),
        (OrdinalWords(20, 3), LogBins(20)),  # no context
    ):
        with pytest.raises(InputError, match=refused):
            DepthCLIP(encoder, DepthHead(prompts, bins)).load_learned(path)
    calibrated = DepthHead(OrdinalWords(20, 3, template), LogBins(20), calibrated=True)
    with pytest.raises(InputError, match=refused):
        DepthCLIP(encoder, calibrated).load_learned(path)


SMALL = [f"--data.init_args.{split}_size=2" for split in ("train", "val", "test")]
SMALL += ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false"]


def test_the_commands_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    block = re.search(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]
    commands = [line.partition("-m depthclip ")[2] for line in block.replace("\\\n", " ").splitlines()]
    assert len(commands) == 3
    for command in commands:
        once = ["--trainer.max_epochs=1"] if command.startswith("learn") else []
        assert main([*shlex.split(command), *SMALL, *once]) == 0, capsys.readouterr()
    printed = capsys.readouterr().out
    for name, count in (("ordinal_rooms", 7), ("bins_20", 20)):
        metrics = json.loads(Path(f"runs/{name}/version_0/metrics.json").read_text())
        assert metrics["recipe"]["model"]["head"]["init_args"]["prompts"]["init_args"]["count"] == count
        assert f"monotonicity of the words: head {metrics['monotonicity']['head']:.3f}" in printed


# ---- loss


BINS = torch.tensor([1.0, 1.5, 2.0, 3.0, 5.0])


def an_image(seed):
    torch.manual_seed(seed)
    target = (0.5 + 5 * torch.rand(6, 8)) * (torch.rand(6, 8) > 0.3)
    return LossInput(torch.ones(6, 8), target, target > 0, 2 * torch.randn(5, 3, 4), BINS)


def earth_mover(image, logits, target):
    """The mean over the pixels of the squared differences of the cumulative distributions, in NumPy."""
    bins, distances = image.bins.double().numpy(), []
    for y, x in zip(*np.nonzero(image.mask.numpy()), strict=True):
        depth, weights = float(image.target[y, x]), np.exp(logits[:, y // 2, x // 2])
        # a triangle over each bin, 1 at the bin and 0 at its neighbours
        wanted = np.array([np.interp(depth, bins, row) for row in np.eye(len(bins))])
        if target == "nearest":
            wanted = np.eye(len(bins))[np.abs(bins - depth).argmin()]
        change = np.cumsum(weights / weights.sum()) - np.cumsum(wanted)
        distances.append((change**2).sum() / (len(bins) - 1))
    return np.mean(distances)


@pytest.mark.parametrize("target", ["nearest", "neighbours"])
def test_earth_mover_and_its_gradient(target):
    images = [an_image(0), an_image(1)]
    logits = [image.logits.double().numpy() for image in images]
    expected = np.mean([earth_mover(*pair, target) for pair in zip(images, logits, strict=True)])
    images[0].logits.requires_grad_()
    loss = EarthMover(target)(images)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    for index in np.ndindex(5, 3, 4):
        step = np.zeros((5, 3, 4))
        step[index] = 1e-5
        change = [earth_mover(images[0], logits[0] + sign * step, target) for sign in (1, -1)]
        slope = (change[0] - change[1]) / 2e-5 / 2  # the mean over two images
        assert images[0].logits.grad[index].item() == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_earth_mover_grows_with_the_number_of_bins_in_between():
    target = torch.full((2, 2), 1.0)
    sure = [100 * torch.eye(5)[k].reshape(5, 1, 1) for k in range(5)]
    losses = [EarthMover()([LossInput(target, target, target > 0, each, BINS)]).item() for each in sure]
    assert losses == pytest.approx([0, 0.25, 0.5, 0.75, 1])


# ---- monotonicity


def by_scipy(features):
    """The mean of Kendall's tau over words and sides, weighted by pairs."""
    similarities, total, pairs = features @ features.T, 0.0, 0
    for k, row in enumerate(similarities):
        for side in (row[:k][::-1], row[k + 1 :]):
            if len(side) > 1:
                count = len(side) * (len(side) - 1) // 2
                total += count * kendalltau(np.arange(len(side)), -side).statistic
                pairs += count
    assert pairs == len(features) * (len(features) - 1) * (len(features) - 2) // 3
    return total / pairs


@pytest.mark.parametrize("count", [3, 4, 9, 40])
def test_monotonicity_is_a_mean_of_kendalls_tau(count):
    features = np.random.default_rng(count).normal(size=(count, 12))
    assert monotonicity(torch.tensor(features)) == pytest.approx(by_scipy(features), abs=1e-12)


def arc(angles):
    return torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1))


def test_monotonicity_is_one_on_an_arc_for_any_spacing_and_zero_on_average_for_random_orders():
    generator = np.random.default_rng(0)
    ordered = np.sort(generator.uniform(0, np.pi, 30))
    assert monotonicity(arc(ordered)) == 1
    assert monotonicity(arc(ordered[::-1].copy())) == 1
    assert monotonicity(torch.ones(5, 3)) == 0
    mixed = [monotonicity(arc(generator.permutation(ordered))) for _ in range(200)]
    assert np.mean(mixed) == pytest.approx(0, abs=3 * np.std(mixed) / np.sqrt(200))
    # very many words: on a sample at equal steps
    assert monotonicity(arc(np.linspace(0, 3, 2000))) == 1


def test_monotonicity_of_heads(clip):
    text = clip("small-resnet", "attention_pool").text
    head = DepthHead(Prompts(["near", "middle", "far", "unseen"]), Bins([1, 2, 3, 4]))
    head.prepare(text)
    expected = by_scipy(text.encode([f"This object is {w}" for w in head.labels]).double().numpy())
    assert word_monotonicity(head, text) == pytest.approx(expected)
    by_image = DepthHead(ConditionalContext(["near", "middle", "far"]), Bins([1, 2, 3]))
    by_image.prepare(text)
    pair = DepthHead(Prompts(["near", "far"]), Bins([1, 2]))
    pair.prepare(text)
    assert [word_monotonicity(each, text) for each in (by_image, pair, Head())] == [None] * 3


def test_studies_list_it_by_variant():
    runs = [{"monotonicity": {"a": 1.0, "b": -0.25}}, {"monotonicity": {}}, {"monotonicity": {"c": 0.5}}]
    table = monotonicity_table(Results("Why?", [], {}, {}, runs, {}))
    assert table.splitlines()[2:] == ["| a | 1.000 |", "| b | -0.250 |", "| c | 0.500 |"]
    assert monotonicity_table(Results("Why?", [], {}, {}, [{"monotonicity": {}}], {})) == ""
