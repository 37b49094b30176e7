"""Learned, fitted and scene-dependent bins."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from depthclip.head import Bins, FittedBins, ImageBins, LearnedBins, LinearBins, LogBins, SceneBins

# class-dependent bins of DepthCLIP (arXiv 2207.01077), metres
CD3 = [1, 1.25, 1.5, 1.75, 2, 2.25, 2.5]
CD4 = [2, 2.5, 3, 3.25, 3.5, 3.75, 4]


class Words:
    """A text tower that gives each new sentence the next axis of the joint space."""

    logit_scale = 100.0
    dim = 8

    def __init__(self):
        self.sentences = []

    def encode(self, texts):
        self.sentences += [text for text in texts if text not in self.sentences]
        return torch.eye(8)[[self.sentences.index(text) for text in texts]]

    def embed(self, texts):
        raise NotImplementedError

    def encode_embeddings(self, embeddings):
        raise NotImplementedError


@pytest.fixture
def text():
    return Words()


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("cd3", CD3),
        ("cd4", CD4),
        ([0.5, 9.9], [0.5, 9.9]),
        (LinearBins(20, 0.1, 9), np.linspace(0.1, 9, 20)),
        (LogBins(256, 0.01, 9.5), np.geomspace(0.01, 9.5, 256)),
    ],
)
def test_learned_bins_start_at_the_given_bins(text, start, expected):
    expected = torch.tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(LearnedBins(start)(text), expected, rtol=1e-4, atol=1e-4)
    image = ImageBins(start)
    image.prepare(text)
    torch.testing.assert_close(image(text, torch.randn(3, 8)), expected.expand(3, -1), rtol=1e-4, atol=1e-4)


def test_a_bin_at_the_end_of_the_range_moves_inside_by_a_millimetre(text):
    bins = LearnedBins(LinearBins(7, 1e-3, 10))(text).detach()
    assert np.abs(bins.numpy() - np.linspace(1e-3, 10, 7)).max() < 2e-3


@pytest.mark.parametrize("make", [LearnedBins, ImageBins, lambda: LearnedBins(LogBins(64, 0.5, 9))])
@pytest.mark.parametrize("seed", range(3))
def test_learned_bins_ascend_and_stay_in_the_range_under_random_gradients(text, make, seed):
    torch.manual_seed(seed)
    bins = make()
    bins.prepare(text)
    pooled = F.normalize(torch.randn(4, 8), dim=-1)
    optimizer = torch.optim.AdamW(bins.parameters(), lr=0.3)
    for _ in range(30):
        optimizer.zero_grad()
        values = bins(text, pooled)
        (values * torch.randn_like(values)).sum().backward()
        optimizer.step()
    values = bins(text, pooled).detach()
    assert (values.diff(dim=-1) >= 0).all()
    assert values.min() >= 1e-3
    assert values.max() <= 10


def test_learned_bins_reach_a_target(text):
    bins, target = LearnedBins("depthclip", max_depth=5), torch.tensor([0.5, 1, 1.2, 2, 3, 4, 4.5])
    optimizer = torch.optim.Adam(bins.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (bins(text) - target).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(bins(text).detach(), target, rtol=0.02, atol=0.02)


def test_image_bins_learn_to_differ_between_images(text):
    bins, pooled = ImageBins("depthclip"), torch.eye(8)[:2]
    bins.prepare(text)
    optimizer = torch.optim.Adam(bins.parameters(), lr=0.01)
    for _ in range(50):
        optimizer.zero_grad()
        (bins(text, pooled)[0] - bins(text, pooled)[1]).sum().backward()
        optimizer.step()
    near, far = bins(text, pooled).mean(1)
    assert far - near > 1


def depths(seed=0):
    """Two maps of a skewed distribution with invalid pixels, and all valid depths together."""
    drawn = np.random.default_rng(seed).gamma(3, 0.8, size=(2, 60, 80)).astype(np.float32)
    drawn[:, :5] = 0
    maps = [(torch.from_numpy(depth), "") for depth in drawn]
    return maps, drawn[(drawn > 1e-3) & (drawn < 10)]


def test_quantiles(text):
    maps, together = depths()
    bins = FittedBins(7, "quantiles")
    bins.fit(maps)
    np.testing.assert_allclose(bins(text), np.quantile(together, (np.arange(7) + 0.5) / 7), atol=5e-3)


def test_log(text):
    maps, together = depths()
    bins = FittedBins(20, "log")
    bins.fit(maps)
    np.testing.assert_allclose(bins(text), np.geomspace(*np.quantile(together, [0.01, 0.99]), 20), rtol=2e-2)


def test_kmeans_finds_clear_clusters(text):
    drawn = np.random.default_rng(0)
    clusters = [drawn.normal(centre, 0.05, size) for centre, size in ((0.8, 3000), (2.5, 300), (6, 900), (9, 60))]
    bins = FittedBins(4, "kmeans")
    bins.fit([(torch.from_numpy(np.concatenate(clusters).astype(np.float32)), "")])
    np.testing.assert_allclose(bins(text), [cluster.mean() for cluster in clusters], atol=2e-3)


def test_kmeans_is_a_fixed_point_and_beats_the_quantiles(text):
    maps, together = depths()

    def error(how):
        bins = FittedBins(7, how)
        bins.fit(maps)
        return bins(text).numpy(), np.abs(together[:, None] - bins(text).numpy()).min(1)

    centres, distance = error("kmeans")
    nearest = np.abs(together[:, None] - centres).argmin(1)
    np.testing.assert_allclose([together[nearest == k].mean() for k in range(7)], centres, atol=0.02)
    assert np.square(distance).mean() < np.square(error("quantiles")[1]).mean()


def test_few_different_depths_give_bins_that_still_ascend(text):
    bins = FittedBins(3, "quantiles")
    bins.fit([(torch.tensor([1.0] * 98 + [2.0, 3.0]), "")])
    assert (bins(text).diff() > 0).all()


@pytest.mark.parametrize("kind", [LearnedBins, ImageBins])
def test_fitted_bins_are_the_start_of_learned_bins(text, kind):
    fitted, bins, loaded = FittedBins(7), kind(FittedBins(7)), kind(FittedBins(7))
    fitted.fit(depths()[0])
    assert bins.needs_depths
    bins.prepare(text)
    bins.fit(depths()[0])
    pooled = torch.eye(8)[:2]
    torch.testing.assert_close(bins(text, pooled), fitted(text).expand(bins(text, pooled).shape), rtol=1e-4, atol=1e-4)
    loaded.prepare(text)
    loaded.load_state_dict(bins.state_dict())
    torch.testing.assert_close(loaded(text, pooled), bins(text, pooled))


def test_checkpoints_contain_fitted_bins(text):
    fitted, loaded = FittedBins(7), FittedBins(7)
    assert fitted.needs_depths
    fitted.fit(depths()[0])
    loaded.load_state_dict(fitted.state_dict())
    assert not loaded.needs_depths
    torch.testing.assert_close(loaded(text), fitted(text))


def scene_bins(choice, **scenes):
    return SceneBins(scenes or {"bathroom": Bins("cd3"), "living_room": Bins("cd4")}, choice=choice)


def test_hard_scene_bins_are_those_of_the_most_similar_scene(text):
    hard = scene_bins("hard")
    hard.prepare(text)
    assert text.sentences == ["a photo of a bathroom.", "a photo of a living room."]
    pooled = F.normalize(torch.eye(8)[[0, 1, 0]] + 0.1 * torch.eye(8)[[1, 0, 1]], dim=-1)
    assert hard(text, pooled).tolist() == [CD3, CD4, CD3]


def test_soft_scene_bins_are_a_mean_over_scenes(text):
    torch.manual_seed(0)
    pooled = F.normalize(torch.randn(5, 8), dim=-1) / 50
    share = np.exp(100 * pooled[:, :2].numpy().astype(np.float64))
    share /= share.sum(1, keepdims=True)
    expected = share @ np.array([CD3, CD4])
    soft = scene_bins("soft")
    soft.prepare(text)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_allclose(soft(text, pooled), expected, rtol=1e-5)


def test_bins_of_each_scene_are_fitted_and_learned_separately(text):
    bins = scene_bins("hard", bathroom=FittedBins(7), kitchen=FittedBins(7, "log"), office=LearnedBins())
    bins.prepare(text)
    assert bins.needs_depths
    near, far = (torch.linspace(start, start + 2, 1000) for start in (1, 6))
    bins.fit(iter([(near, "bathroom"), (far, "kitchen"), (far, "attic")]))
    assert not bins.needs_depths
    values = bins(text, torch.eye(8)[:3])
    assert values[0].max() < 3
    assert values[1].min() > 6
    values[2].sum().backward()
    assert bins.each[2].gaps.grad.abs().sum() > 0
    assert set(bins.state_dict()) == {f"scenes.{k}.{key}" for k in (0, 1) for key in ("values", "fitted")} | {
        "scenes.2.gaps"
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda text: LearnedBins(max_depth=2.5), "widen the range"),
        (lambda text: LearnedBins([2, 1]), "must ascend"),
        (lambda text: ImageBins(hidden=0), "hidden 0"),
        (lambda text: FittedBins()(text), "not fitted yet"),
        (lambda text: LearnedBins(FittedBins())(text), "not fitted yet"),
        (lambda text: LearnedBins(ImageBins()), "start ImageBins depends on the image"),
        (lambda text: FittedBins(1), "count 1"),
        (lambda text: FittedBins(3).fit([(torch.zeros(4, 4), "")]), "fewer than 3 different values"),
        (lambda text: SceneBins({"a": Bins()}), "at least two"),
        (lambda text: SceneBins({"a": Bins(), "b": Bins([1, 2])}), "same number of bins"),
        (lambda text: SceneBins({"a": Bins(), "b": ImageBins()}), "the bins of b depend on the image"),
        (lambda text: SceneBins({"a": Bins(), "b": Bins()}, ["a room"]), "{scene}"),
        (
            lambda text: scene_bins("hard", a=FittedBins(), b=Bins()).fit([]),
            "no training image shows a, whose bins",
        ),
    ],
)
def test_errors_name_the_argument(text, wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(text)
