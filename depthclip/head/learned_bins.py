"""Bins that depend on the training set, on the image, or on gradients.

Wherever bins are learned they are cut out of a range by K + 1 gaps, so that they ascend and stay in it whatever an
optimizer does: b_k = min_depth + (max_depth - min_depth) * (g_0 + ... + g_k),  g = softmax(gaps).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip.checks import brief, check_choice, check_count
from depthclip.encoder.interfaces import TextEncoder
from depthclip.errors import InputError
from depthclip.head.adapter import zero_ended
from depthclip.head.bins import Bins, LinearBins, check_range
from depthclip.head.interfaces import unprepared
from depthclip.head.prompts import check_text, encode_groups, texts_of
from depthclip.head.word_order import check_distinct

SCENE_TEMPLATE = "a photo of a {scene}."


class LearnedBins(Bins):
    """Bins that `fit` learns, starting at other bins.

    Args:
        start: K depths in metres, the name of one of the paper's sets, or bins such as `LinearBins` and `FittedBins`.
        min_depth: no bin comes nearer, in metres.
        max_depth: no bin goes farther, in metres.

    Raises:
        InputError: if the start is no set of bins, looks at the image, or does not lie in the range.
    """

    def __init__(
        self, start: Bins | Sequence[float] | str = "depthclip", min_depth: float = 1e-3, max_depth: float = 10.0
    ) -> None:
        check_range(2, min_depth, max_depth)
        first = start if isinstance(start, Bins) else Bins(start)
        if first.needs_pooled:
            raise InputError(f"start {type(first).__name__} looks at the image; choose fixed or fitted bins")
        super().__init__(first.values.tolist())
        self.start = first
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.gaps = nn.Parameter(gaps_of(self.values, min_depth, max_depth))

    @property
    def needs_depths(self) -> bool:
        """Whether the start waits to be fitted."""
        return self.start.needs_depths

    def update(self, depth: Tensor, scene: str) -> None:
        """Hands a depth map on to the start."""
        self.start.update(depth, scene)

    def compute(self) -> None:
        """Fits the start where it needs that, and goes there."""
        if self.start.needs_depths:
            self.start.compute()
            with torch.no_grad():
                self.gaps.copy_(gaps_of(self.start.values, self.min_depth, self.max_depth))

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """The learned depths in metres, (K,)."""
        check_fitted(self)
        return cut(self.gaps, self.min_depth, self.max_depth)


class ImageBins(LearnedBins):
    """Bins that a small network places for each image from its pooled feature.

    gaps(image) = gaps + net(pooled), with net two layers whose output starts at zero: every image has the start's bins.

    The idea is that of AdaBins (arXiv 2011.14141), with differences. AdaBins predicts widths from a transformer over a
    trained feature map, normalises them after a ReLU, and takes the centres of the cells; here the feature is CLIP's
    frozen pooled one, the widths come from a softmax and start at given bins, and the bins are the inner edges of
    K + 1 cells. AdaBins also trains its centres with a chamfer loss to the depths of the image; here nothing but the
    loss of the depth moves them.

    Args:
        start: K depths in metres, the name of one of the paper's sets, or bins such as `LinearBins` and `FittedBins`.
        min_depth: no bin comes nearer, in metres.
        max_depth: no bin goes farther, in metres.
        hidden: the width between the two layers, from 1 to 65,536.

    Raises:
        InputError: as `LearnedBins`, or if hidden is smaller than 1.
    """

    net: nn.Module | None

    def __init__(
        self,
        start: Bins | Sequence[float] | str = "depthclip",
        min_depth: float = 1e-3,
        max_depth: float = 10.0,
        hidden: int = 64,
    ) -> None:
        super().__init__(start, min_depth, max_depth)
        check_count("hidden", hidden, at_most=65_536)
        self.hidden = hidden
        self.register_module("net", None)

    @property
    def needs_pooled(self) -> bool:
        """Whether the bins look at the image's pooled feature: always."""
        return True

    def prepare(self, text: TextEncoder) -> None:
        """Creates the network, once the D of the pooled feature is known."""
        self.net = zero_ended(text.dim, self.hidden, len(self.gaps)).to(self.gaps.device)

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Depths in metres for each image, (B, K)."""
        check_fitted(self)
        if self.net is None:
            raise unprepared(self)
        assert pooled is not None
        return cut(self.gaps + self.net(pooled).float(), self.min_depth, self.max_depth)


class FittedBins(Bins):
    """Bins fitted to the depths of the training set; a checkpoint keeps them.

    The depths are counted in a histogram of 10,000 equal steps over the range, 1 mm for 10 m.

    Args:
        count: K, how many bins.
        how: `quantiles`, so that each bin stands for as many pixels, at (k + 1/2) / K; `kmeans`, the centres that
            k-means finds among the depths, which minimise the mean squared distance to the nearest bin; `log`, equal
            ratios from the 1st to the 99th percentile.
        min_depth: nearer depths are not counted, in metres.
        max_depth: farther depths are not counted, in metres.

    Raises:
        InputError: if count or range gives no bins, or (from `forward`) the bins are not fitted yet.
    """

    fitted: Tensor  # () bool
    steps = 10_000

    def __init__(
        self,
        count: int = 7,
        how: Literal["quantiles", "kmeans", "log"] = "quantiles",
        min_depth: float = 1e-3,
        max_depth: float = 10.0,
    ) -> None:
        check_choice("how", how, ("quantiles", "kmeans", "log"))
        # until they are fitted the values only say how many there are
        super().__init__(LinearBins(count, min_depth, max_depth).values.tolist())
        self.how = how
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.histogram = torch.zeros(self.steps, dtype=torch.float64)
        self.register_buffer("values", self.values, persistent=True)
        self.register_buffer("fitted", torch.tensor(False), persistent=True)

    @property
    def needs_depths(self) -> bool:
        """Whether the bins wait to be fitted to training depths."""
        return not bool(self.fitted)

    def update(self, depth: Tensor, scene: str) -> None:
        """Counts the depths of one map, whatever it shows."""
        self.histogram += torch.histc(depth.detach().float().cpu(), self.steps, self.min_depth, self.max_depth)

    def compute(self) -> None:
        """Turns what was counted into bins.

        Raises:
            InputError: if fewer than K different depths were counted.
        """
        if (self.histogram > 0).sum() < self.count:
            raise InputError(
                f"the training depths have fewer than {self.count} different values between {self.min_depth} and "
                f"{self.max_depth} m; check min_depth and max_depth of the bins, and the data"
            )
        step = (self.max_depth - self.min_depth) / self.steps
        depths = self.min_depth + step * (torch.arange(self.steps, dtype=torch.float64) + 0.5)
        if self.how == "quantiles":
            fitted = quantiles(depths, self.histogram, (torch.arange(self.count) + 0.5) / self.count)
        elif self.how == "log":
            near, far = quantiles(depths, self.histogram, torch.tensor([0.01, 0.99])).log()
            fitted = torch.linspace(float(near), float(far), self.count).exp()
        else:
            fitted = kmeans(depths, self.histogram, self.count)
        self.values.copy_(apart(fitted, step))
        self.histogram.zero_()
        self.fitted.fill_(True)

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """The fitted depths in metres, (K,)."""
        check_fitted(self)
        return self.values


class SceneBins(Bins):
    """Bins of the scene that CLIP recognises in the image: the future work of DepthCLIP (arXiv 2207.01077).

    With the pooled feature f of the image and s_j, the text features of the scenes:
    p = softmax(exp(logit_scale) * <f, s_j>), and the bins are sum_j p_j b_j, or those of the most probable scene. With
    `LearnedBins` for every scene this is a depth codebook, with the paper's class-dependent sets its study of bins.

    Args:
        scenes: the bins of each scene, all of one number. Their names fill the templates (`living_room` as "living
            room"), and are those of the data set where the bins are fitted.
        templates: sentences with `{scene}`.
        choice: `soft` for the mean over scenes, weighted with their probability; `hard` for the most probable scene's.

    Raises:
        InputError: if there are fewer than two scenes, their numbers of bins differ or they look at the image, or a
            template has no `{scene}`.
    """

    features: Tensor | None  # (S, D), of the scenes' sentences

    def __init__(
        self,
        scenes: dict[str, Bins],
        templates: Sequence[str] = (SCENE_TEMPLATE,),
        choice: Literal["soft", "hard"] = "soft",
    ) -> None:
        check_choice("choice", choice, ("soft", "hard"))
        counts = {name: bins.count for name, bins in scenes.items()}
        if len(scenes) < 2 or len(set(counts.values())) > 1:
            raise InputError(f"scenes {brief(counts)} must be at least two, each with the same number of bins")
        if looking := [name for name, bins in scenes.items() if bins.needs_pooled]:
            raise InputError(f"the bins of {', '.join(looking)} look at the image themselves; give them others")
        for name in scenes:
            check_text("scenes", name)
        if not all("{scene}" in template for template in texts_of("templates", templates)):
            raise InputError(f"templates {brief(list(templates))} must each have {{scene}}")
        super().__init__(next(iter(scenes.values())).values.tolist())
        self.names = tuple(scenes)
        self.scenes = nn.ModuleList(scenes.values())
        self.templates = tuple(templates)
        self.choice = choice
        self.shown: set[str] = set()
        self.register_buffer("features", None, persistent=False)

    @property
    def needs_pooled(self) -> bool:
        """Whether the bins look at the image's pooled feature: always."""
        return True

    @property
    def each(self) -> list[Bins]:
        """The bins of the scenes, in the order of `names`."""
        return [bins for bins in self.scenes if isinstance(bins, Bins)]

    @property
    def needs_depths(self) -> bool:
        """Whether the bins of some scene wait to be fitted."""
        return any(bins.needs_depths for bins in self.each)

    def prepare(self, text: TextEncoder) -> None:
        """Encode the sentences of the scenes, and prepare their bins.

        Raises:
            InputError: if a sentence is longer than the tower's context, or two scenes have the same feature.
        """
        for bins in self.each:
            bins.prepare(text)
        names = [name.replace("_", " ") for name in self.names]
        features = encode_groups(text, [[t.replace("{scene}", n) for t in self.templates] for n in names])
        check_distinct("scenes", names, features, f"templates {brief(list(self.templates))}")
        self.features = features

    def update(self, depth: Tensor, scene: str) -> None:
        """Hands a depth map on to the bins of its scene."""
        self.shown.add(scene)
        if scene in self.names:
            self.each[self.names.index(scene)].update(depth, scene)

    def compute(self) -> None:
        """Fits the bins of each scene to the depth maps that show it.

        Raises:
            InputError: if no depth map shows a scene whose bins are to be fitted.
        """
        waiting = {name: bins for name, bins in zip(self.names, self.each, strict=True) if bins.needs_depths}
        if missing := [name for name in waiting if name not in self.shown]:
            raise InputError(
                f"no training image shows {', '.join(missing)}, whose bins are to be fitted; "
                f"the scenes of the training set are: {', '.join(sorted(self.shown))}"
            )
        for bins in waiting.values():
            bins.compute()

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Depths in metres for each image, (B, K)."""
        if self.features is None:
            raise unprepared(self)
        assert pooled is not None
        bins = torch.stack([one(text) for one in self.each])  # (S, K)
        with torch.autocast(pooled.device.type, enabled=False):
            logits = text.logit_scale * pooled.float() @ self.features.float().mT  # (B, S)
            return bins[logits.argmax(-1)] if self.choice == "hard" else logits.softmax(-1) @ bins


def check_fitted(bins: Bins) -> None:
    """Raise if bins still wait for training depths.

    Raises:
        InputError: naming the way to fit them.
    """
    if bins.needs_depths:
        raise InputError("the bins are not fitted yet; run fit with training data, or load a checkpoint of fitted bins")


def gaps_of(bins: Tensor, min_depth: float, max_depth: float) -> Tensor:
    """The K + 1 gaps, before the softmax, that give K bins.

    A bin at an end of the range is put a ten-thousandth of it inside: a gap of nothing could not be learned.

    Raises:
        InputError: if the bins do not lie in the range.
    """
    check_range(len(bins), min_depth, max_depth)
    inside = (bins.double() - min_depth) / (max_depth - min_depth)
    if inside[0] < -1e-6 or inside[-1] > 1 + 1e-6:
        raise InputError(
            f"the bins reach from {bins[0]:g} to {bins[-1]:g} m, beyond min_depth {min_depth:g} or max_depth "
            f"{max_depth:g} m; widen the range or choose other bins"
        )
    edges = F.pad(inside.clamp(1e-4, 1 - 1e-4), (1, 1))
    edges[-1] = 1
    return edges.diff().log().float()


def cut(gaps: Tensor, min_depth: float, max_depth: float) -> Tensor:
    """Bins in metres, (..., K), from gaps before their softmax, (..., K + 1)."""
    return min_depth + (max_depth - min_depth) * gaps.softmax(-1).cumsum(-1)[..., :-1]


def quantiles(values: Tensor, counts: Tensor, shares: Tensor) -> Tensor:
    """The values below which the given shares of the counts lie."""
    return values[torch.searchsorted(counts.cumsum(0), shares.double() * counts.sum())]


def kmeans(values: Tensor, counts: Tensor, clusters: int) -> Tensor:
    """The ascending centres of k-means among values that occur so often."""
    from sklearn.cluster import KMeans  # slow to import, and nothing else needs it

    seen = counts > 0
    search = KMeans(clusters, n_init=4, random_state=0)
    found = search.fit(values[seen, None].numpy(), sample_weight=counts[seen].numpy())
    return torch.from_numpy(found.cluster_centers_[:, 0]).sort().values


def apart(bins: Tensor, step: float) -> Tensor:
    """Ascending bins moved up where they would coincide, to be at least a step apart."""
    steps = step * torch.arange(len(bins), dtype=bins.dtype)
    return (bins - steps).cummax(0).values + steps
