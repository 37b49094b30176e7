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
from depthclip.head.word_order import better_order

# DepthCLIP (arXiv 2207.01077), its main experiment, and then its study of prompts
WORD_SETS = {
    "depthclip": ["giant", "extremely close", "close", "not in distance", "a little remote", "far", "unseen"],
    "depthclip1": ["extremely close", "close", "middle", "a little far", "far", "quite far", "unseen"],
    "depthclip2": ["extremely close", "very close", "close", "a little close", "a little far", "far", "unseen"],
    "depthclip3": ["giant", "close", "a little close", "not in distance", "a bit remote", "far", "unseen"],
}
FIVE = ["very close", "close", "medium", "far", "very far"]

# DepthCLIP (arXiv 2207.01077), its main experiment, and then its study of class-dependent bins; metres
BIN_SETS = {
    "depthclip": [1, 1.5, 2, 2.25, 2.5, 2.75, 3],
    "cd1": [1, 2, 2.25, 2.5, 2.75, 3, 4],
    "cd2": [1, 1.5, 2, 2.5, 3, 3.5, 4],
    "cd3": [1, 1.25, 1.5, 1.75, 2, 2.25, 2.5],
    "cd4": [2, 2.5, 3, 3.25, 3.5, 3.75, 4],
}


@pytest.fixture(scope="module")
def rooms():
    """The text tower of the CLIP that ships with the package."""
    return FrozenCLIP("tiny-rooms", "bundled", "attention_pool").text


def prepared(module, text):
    """Return prompts or a head after `prepare`."""
    module.prepare(text)
    return module


class Text:
    """A text encoder with given features."""

    logit_scale = 50.0
    dim = width = 2

    def __init__(self, features):
        self.features = features
        self.calls = []

    def encode(self, texts):
        self.calls.append(list(texts))
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
    assert coarse.image(3)[1:] == (None,) * 4
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


def test_prompts_are_the_normalized_mean_of_the_features_of_all_sentences():
    features = {"a near cup": (1, 0), "near cup": (0, 1), "a far cup": (-1, 0), "far cup": (-1, 0)}
    text = Text(features)
    prompts = Prompts(["near", "far"], ["a {distance} {object}", "{distance} {object}"], ["cup"])
    prompts.prepare(text)
    for _ in range(2):
        torch.testing.assert_close(prompts(text), torch.tensor([[2**-0.5, 2**-0.5], [-1.0, 0.0]]))
    assert len(text.calls) == 1  # encoded once


def test_centred_prompts_have_no_common_part():
    features = {"near": (0.8, 0.6), "far": (0.6, 0.8)}
    text = Text(features)
    prompts = prepared(Prompts(["near", "far"], ["{distance}"], centred=True), text)
    torch.testing.assert_close(prompts(text), torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) / 2**0.5)


@pytest.mark.parametrize("name", WORD_SETS)
def test_word_sets_are_those_of_the_paper(name):
    assert list(Prompts(name).words) == WORD_SETS[name]


def test_the_set_of_five_words():
    assert list(Prompts("five").words) == FIVE


@pytest.mark.parametrize("name", BIN_SETS)
def test_bin_sets_are_those_of_the_paper(name):
    assert Bins(name).values.tolist() == BIN_SETS[name]


@pytest.mark.parametrize("assignment", ["soft", "hard"])
@pytest.mark.parametrize("logit_scale", [None, 100.0])
def test_depth_is_the_equation_of_the_paper(assignment, logit_scale):
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
    np.testing.assert_allclose(LinearBins(5, 1, 9).values, [1, 3, 5, 7, 9])
    np.testing.assert_allclose(LinearBins(4, 1, 9, "centres").values, [2, 4, 6, 8])
    np.testing.assert_allclose(LogBins(4, 1, 8).values, [1, 2, 4, 8], rtol=1e-6)
    np.testing.assert_allclose(LogBins(3, 1, 64, "centres").values, [2, 8, 32], rtol=1e-6)


def test_extreme_temperatures_give_a_maximum_and_a_mean():
    """At the bounds of temperature and logit_scale nothing overflows, and the softmax is a maximum or uniform."""
    features = {"near": (1, 0), "middle": (0.6, 0.8), "far": (0, 1)}
    text, image = Text(features), torch.tensor([1.0, 0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    for temperature, logit_scale, expected in ((1e-6, 1e6, 1.0), (1e6, 1e-6, 7 / 3)):
        prompts = Prompts(list(features), ["{distance}"])
        head = DepthHead(prompts, Bins([1, 2, 4]), temperature, logit_scale, smoothing=1000)
        depth = prepared(head, text)(ImageFeatures(image), text).depth
        torch.testing.assert_close(depth, torch.full((1, 1, 3, 4), expected))


def test_features_in_a_mixed_order_on_a_line_are_sorted_and_others_are_not():
    """The angle between unit vectors i and j on an arc grows with |i - j|."""
    angles = torch.linspace(0, 1.5, 7)
    arc = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert better_order(arc) is None
    assert better_order(arc.flip(0)) is None  # a reversed order has the same similarities
    mixed = [3, 6, 0, 5, 1, 4, 2]
    order = better_order(arc[mixed])
    assert [mixed[k] for k in order] in ([*range(7)], [*range(6, -1, -1)])
    assert better_order(arc[[2, 0, 1]]) is None  # too few
    assert better_order(torch.eye(7)) is None  # all pairs have the same distance
    generator = torch.Generator().manual_seed(0)
    random = torch.nn.functional.normalize(torch.randn(200, 5, 512, generator=generator), dim=-1)
    assert all(better_order(features) is None for features in random)


@pytest.mark.parametrize("words", [*WORD_SETS, "five"])
@pytest.mark.parametrize("template", ["This {object} is {distance}", "The room is {distance}."])
def test_the_named_sets_are_in_order_for_the_bundled_clip(rooms, words, template):
    features = prepared(Prompts(words, [template]), rooms)(rooms)
    assert better_order(features) is None


def test_words_in_a_mixed_order_warn(rooms):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Prompts(FIVE).prepare(rooms)
        Prompts(FIVE[::-1]).prepare(rooms)  # a reversed order has the same similarities
    mixed = Prompts(["medium", "very far", "very close", "far", "close"])
    with pytest.warns(UserWarning, match="'medium', 'very far'.*near to far"):
        mixed.prepare(rooms)
    features = dict(zip(FIVE, prepared(Prompts(FIVE), rooms)(rooms), strict=True))
    orders = itertools.permutations(FIVE)
    warned = [better_order(torch.stack([features[word] for word in order])) is not None for order in orders]
    assert 0.3 < sum(warned) / len(warned) < 0.7


@pytest.mark.parametrize(
    ("make", "message"),
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
def test_bad_input_is_one_sentence(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
