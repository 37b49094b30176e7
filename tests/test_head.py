"""Prompts, bins and the depth head against few-line formulas."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from depthclip.encoder import FrozenCLIP, ImageFeatures, Needs
from depthclip.head import (
    Adapter,
    Bins,
    Coarse,
    DepthHead,
    FittedBins,
    Head,
    ImageBins,
    LearnedWords,
    LinearBins,
    LogBins,
    Prompts,
    SceneBins,
)
from depthclip.head.depth_head import smooth
from depthclip.head.prompts import WORDS
from depthclip.head.word_order import better_order


@pytest.fixture(scope="module")
def rooms():
    """The text tower of the CLIP that ships with the package."""
    return FrozenCLIP("tiny-rooms", "bundled", "attention_pool").text


def prepared(module, text):
    """Return prompts or a head after `prepare`."""
    module.prepare(text)
    return module


class Text:
    """A text encoder whose features are written down."""

    logit_scale = 50.0
    dim = width = 2

    def __init__(self, features):
        self.features = features
        self.asked = []

    def encode(self, texts):
        self.asked.append(list(texts))
        return torch.tensor([self.features[t] for t in texts], dtype=torch.float32)


def test_a_head_without_words_and_bins_needs_only_forward():
    class Constant(Head):
        def forward(self, features, text):
            return Coarse(features.dense.new_full((len(features.dense), 1, 2, 3), 4.0))

    head = Constant()
    head.prepare(Text({}))
    head.fit([(torch.ones(2, 2), "kitchen")])
    assert (head.needs, head.labels, head.needs_depths) == (Needs(), (), False)
    coarse = head(ImageFeatures(torch.zeros(5, 2, 7, 7)), Text({}))
    assert coarse.weights is None
    assert coarse.image(3).depth.tolist() == [[[[4.0] * 3] * 2]]
    assert coarse.image(3)[1:] == (None, None)
    with pytest.raises(NotImplementedError, match="Head must implement forward"):
        Head()(ImageFeatures(torch.zeros(1, 2, 3, 3)), Text({}))


def test_coarse_outputs_of_an_image():
    logits = torch.tensor([[1.0, 3.0], [5.0, 5.0]]).log().reshape(2, 2, 1, 1)
    depth = torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1)
    shared, own = torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    coarse = Coarse(depth, logits, shared)
    torch.testing.assert_close(coarse.weights.flatten(), torch.tensor([0.25, 0.75, 0.5, 0.5]))
    image = coarse.image(1)
    assert image.depth.tolist() == [[[[2.0]]]]
    torch.testing.assert_close(image.weights, torch.full((1, 2, 1, 1), 0.5))
    assert image.bins.tolist() == [1, 2]
    assert Coarse(depth, logits, own).image(1).bins.tolist() == [[3, 4]]


def test_the_head_takes_needs_labels_and_training_depths_from_its_parts():
    bins = FittedBins(2)
    heads = [DepthHead(Prompts(["near", "far"]), bins) for _ in range(2)]
    assert heads[0].labels == ("near", "far")
    assert heads[0].needs == Needs(pooled=False)
    assert DepthHead(Prompts(["near", "far"]), ImageBins([1, 2])).needs == Needs(pooled=True)
    assert heads[0].needs_depths
    heads[0].fit([(torch.tensor([1.0, 1.0, 3.0, 3.0]), "")])
    np.testing.assert_allclose(bins.values, [1, 3], atol=1e-3)  # within the 1 mm of the histogram
    assert not heads[1].needs_depths
    heads[1].compute()  # the bins that it shares are fitted already


@pytest.mark.parametrize(
    "run",
    [
        lambda text: Prompts("five")(text),
        lambda text: LearnedWords(3)(text),
        lambda text: ImageBins()(text, torch.zeros(1, 2)),
        lambda text: SceneBins({"a": Bins(), "b": Bins()})(text, torch.zeros(1, 2)),
        lambda text: Adapter()(torch.zeros(1, 2, 3, 3)),
    ],
)
def test_forward_before_prepare_is_a_bug(run):
    with pytest.raises(RuntimeError, match=r"is not prepared; call prepare\(text\)"):
        run(Text({}))


def test_prompts_average_unit_features_of_all_sentences_and_normalise():
    features = {"a near cup": (1, 0), "near cup": (0, 1), "a far cup": (-1, 0), "far cup": (-1, 0)}
    text = Text(features)
    prompts = Prompts(["near", "far"], ["a {distance} {object}", "{distance} {object}"], ["cup"])
    prompts.prepare(text)
    for _ in range(2):
        torch.testing.assert_close(prompts(text), torch.tensor([[2**-0.5, 2**-0.5], [-1.0, 0.0]]))
    assert len(text.asked) == 1  # encoded once


def test_centred_prompts_lose_what_they_share():
    features = {"near": (0.8, 0.6), "far": (0.6, 0.8)}
    text = Text(features)
    prompts = prepared(Prompts(["near", "far"], ["{distance}"], centred=True), text)
    torch.testing.assert_close(prompts(text), torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) / 2**0.5)


def test_word_sets_of_the_paper_and_the_seed_vocabulary():
    assert Prompts("five").words == ("very close", "close", "medium", "far", "very far")
    assert len({Prompts(f"depthclip{k}").words for k in ("", 1, 2, 3)}) == 4
    assert all(len(Prompts(f"depthclip{k}").words) == 7 for k in ("", 1, 2, 3))


@pytest.mark.parametrize("assignment", ["soft", "hard"])
@pytest.mark.parametrize("logit_scale", [None, 100.0])
def test_depth_is_the_papers_equation(assignment, logit_scale):
    rng = np.random.default_rng(0)
    t = rng.normal(size=(3, 2))
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    words = ["near", "middle", "far"]
    f = rng.normal(size=(2, 2, 4, 5)).astype(np.float32)
    head = DepthHead(
        Prompts(words, ["{distance}"]), Bins([1, 2, 4]), temperature=20, logit_scale=logit_scale, assignment=assignment
    )
    text = Text(dict(zip(words, t.tolist(), strict=True)))
    coarse = prepared(head, text)(ImageFeatures(torch.from_numpy(f)), text)

    logits = (50 if logit_scale is None else 100) / 20 * np.einsum("bdhw,kd->bkhw", f, t)
    weights = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    bins = np.array([1, 2, 4])
    expected = np.einsum("bkhw,k->bhw", weights, bins) if assignment == "soft" else bins[logits.argmax(1)]
    np.testing.assert_allclose(coarse.depth[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(coarse.logits, logits, rtol=1e-4, atol=1e-5)


def test_smoothing_is_a_gaussian_that_keeps_constants():
    constant = torch.full((1, 1, 7, 9), 3.0)
    torch.testing.assert_close(smooth(constant, 1.0), constant)
    spike = torch.zeros(1, 1, 9, 9)
    spike[..., 4, 4] = 1
    ratio = (smooth(spike, 1.0)[0, 0, 4, 5] / smooth(spike, 1.0)[0, 0, 4, 4]).item()
    assert ratio == pytest.approx(math.exp(-0.5), rel=1e-4)
    assert smooth(torch.rand(1, 1, 1, 2), 2.0).shape == (1, 1, 1, 2)


def test_bins_by_rule():
    assert Bins("cd3").values.tolist() == [1, 1.25, 1.5, 1.75, 2, 2.25, 2.5]
    np.testing.assert_allclose(LinearBins(5, 1, 9).values, [1, 3, 5, 7, 9])
    np.testing.assert_allclose(LogBins(4, 1, 8).values, [1, 2, 4, 8], rtol=1e-6)


def test_the_ends_of_the_ranges_of_the_head_give_a_mean_and_a_maximum():
    """At the largest and smallest scales nothing overflows: the softmax is the nearest bin's, or uniform."""
    features = {"near": (1, 0), "middle": (0.6, 0.8), "far": (0, 1)}
    text, image = Text(features), torch.tensor([1.0, 0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    for temperature, logit_scale, expected in ((1e-6, 1e6, 1.0), (1e6, 1e-6, 7 / 3)):
        prompts = Prompts(list(features), ["{distance}"])
        head = DepthHead(prompts, Bins([1, 2, 4]), temperature, logit_scale, smoothing=1000)
        depth = prepared(head, text)(ImageFeatures(image), text).depth
        torch.testing.assert_close(depth, torch.full((1, 1, 3, 4), expected))


def test_words_on_a_line_fit_their_order_and_others_do_not():
    """Unit vectors on an arc: the angle between two grows with the places between them, whatever they mean."""
    angles = torch.linspace(0, 1.5, 7)
    arc = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert better_order(arc) is None
    assert better_order(arc.flip(0)) is None  # a reversed order has the same similarities
    mixed = [3, 6, 0, 5, 1, 4, 2]
    found = better_order(arc[mixed])
    assert [mixed[k] for k in found] in ([*range(7)], [*range(6, -1, -1)])
    assert better_order(arc[[2, 0, 1]]) is None  # too few
    assert better_order(torch.eye(7)) is None  # all alike: no order at all
    generator = torch.Generator().manual_seed(0)
    random = torch.nn.functional.normalize(torch.randn(200, 5, 512, generator=generator), dim=-1)
    assert all(better_order(features) is None for features in random)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("template", ["This {object} is {distance}", "The room is {distance}."])
def test_the_bundled_clip_knows_the_order_of_the_named_sets(rooms, words, template):
    features = prepared(Prompts(words, [template]), rooms)(rooms)
    assert better_order(features) is None


def test_words_in_a_mixed_order_warn(rooms):
    five = WORDS["five"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Prompts(five).prepare(rooms)
        Prompts(five[::-1]).prepare(rooms)  # cannot be seen from similarities
    mixed = Prompts(["medium", "very far", "very close", "far", "close"])
    with pytest.warns(UserWarning, match="'medium', 'very far'.*near to far"):
        mixed.prepare(rooms)
    features = dict(zip(five, prepared(Prompts(five), rooms)(rooms), strict=True))
    orders = itertools.permutations(five)
    warned = [better_order(torch.stack([features[word] for word in order])) is not None for order in orders]
    assert 0.3 < sum(warned) / len(warned) < 0.7


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Bins([3, 2, 1]), "must ascend"),
        (lambda: Bins([0, 1, 2]), "positive"),
        (lambda: Bins([1, math.nan]), "positive"),
        (lambda: Bins("cd9"), "cd1"),
        (lambda: LogBins(5, 0, 10), "min_depth 0 must be"),
        (lambda: Prompts("six"), "five"),
        (lambda: Prompts(["near"]), "at least two"),
        (lambda: Prompts("five", ["This is far"]), "must have {distance}"),
        (lambda: Prompts("five", ["This is {distance} {colour}"]), "no field in braces other than"),
        (lambda: Prompts("five", ["This is {distance"]), "cannot be read"),
        (lambda: DepthHead(Prompts("five"), Bins("cd1")), "5 words .* 7 bins"),
        (lambda: DepthHead(Prompts("five"), LinearBins(5), temperature=0), "temperature 0"),
        (lambda: DepthHead(Prompts("five"), LinearBins(5), logit_scale=-1), "logit_scale -1"),
        (lambda: DepthHead(Prompts("five"), LinearBins(5), smoothing=-1), "smoothing -1"),
    ],
)
def test_bad_input_is_one_sentence(make, says):
    with pytest.raises(ValueError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)
