"""Controls: words without meaning, words in a wrong order, and predictions that do not depend on the image."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from depthclip.checks import check_count
from depthclip.data.batches import Item
from depthclip.encoder.interfaces import ImageFeatures, Needs, TextEncoder
from depthclip.errors import InputError
from depthclip.evaluation.baselines import Baseline
from depthclip.head.calibration import Calibration
from depthclip.head.depth_head import DepthHead
from depthclip.head.interfaces import Coarse, Head, prepare_once
from depthclip.head.prompts import Prompts
from depthclip.probes.oracles import Grid, size_of
from depthclip.probes.training import TrainingBatch
from depthclip.protocol import View
from depthclip.stitching import stitch

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
SYLLABLES = 3


def nonsense(count: int, seed: int = 0) -> list[str]:
    """Return different words without meaning, such as `zodimu`: three syllables of random letters each.

    Args:
        count: number of words, from 1 to 10,000.
        seed: seed of the letters.

    Raises:
        InputError: if the count is out of its range.
    """
    check_count("count", count, at_most=10_000, unit="words")
    generator = torch.Generator().manual_seed(seed)

    def letter(letters: str) -> str:
        return letters[int(torch.randint(len(letters), (), generator=generator))]

    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(letter(CONSONANTS) + letter(VOWELS) for _ in range(SYLLABLES))] = None
    return list(words)


class PermutedPrompts(Prompts):
    """The words of other prompts in another order, while the bins keep theirs.

    Args:
        prompts: prompts of K words.
        seed: seed of the permutation, which moves every word.
    """

    def __init__(self, prompts: Prompts, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        count = len(prompts.labels)
        self.order = torch.arange(count)
        while count > 1 and bool((self.order == torch.arange(count)).any()):
            self.order = torch.randperm(count, generator=generator)
        super().__init__([prompts.labels[k] for k in self.order])
        self.prompts = prompts
        self.needs_pooled = prompts.needs_pooled

    def prepare(self, text: TextEncoder) -> None:
        """Prepare the prompts whose words are moved."""
        prepare_once(self.prompts, text)

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Return the features of the words in their new order, (K, D) or (B, K, D)."""
        features = self.prompts(text, pooled)
        return features.index_select(-2, self.order.to(features.device))


def with_prompts(head: DepthHead, prompts: Prompts, text: TextEncoder) -> DepthHead:
    """Return a copy of a head with other prompts of the same number of words; its mean logits must be computed again.

    Raises:
        InputError: if the number of words differs, or the sentences do not suit the text tower.
    """
    if len(prompts.labels) != len(head.labels):
        raise InputError(
            f"prompts has {len(prompts.labels)} words; use {len(head.labels)}, one for each bin of the head"
        )
    result = copy.deepcopy(head)
    result.prompts, result.labels = prompts, prompts.labels
    result.needs = Needs(pooled=prompts.needs_pooled or head.bins.needs_pooled)
    if head.calibration is not None:
        result.calibration = Calibration(len(prompts.labels)).to(head.bins.values.device)
    prepare_once(prompts, text)
    return result


class MeanFeature(Head):
    """A head that reads the same feature in every patch of every image: the mean over training images.

    The mean of unit vectors is shorter than they are. It is scaled to their mean length, so that the softmax is as
    sharp as for real patches.

    Args:
        head: head that turns the feature into depth.
        batches: features of training images.
    """

    dense: Tensor  # (1, D, 1, 1)
    pooled: Tensor | None  # (1, D)

    def __init__(self, head: Head, batches: Sequence[TrainingBatch]) -> None:
        super().__init__()
        self.head = head
        self.needs = Needs(pooled=head.needs.pooled)
        self.labels = head.labels
        self.register_buffer("dense", mean_vector([batch.features.dense for batch in batches])[None, :, None, None])
        pooled = [batch.features.pooled for batch in batches if batch.features.pooled is not None]
        self.register_buffer("pooled", mean_vector(pooled)[None] if pooled else None)

    def forward(self, features: ImageFeatures, text: TextEncoder) -> Coarse:
        """Return the depth for the mean feature, in the size of the feature map."""
        pooled = None if self.pooled is None else self.pooled.expand(len(features.dense), -1)
        return self.head(ImageFeatures(self.dense.expand_as(features.dense), pooled), text)


def mean_vector(features: Sequence[Tensor]) -> Tensor:
    """Return the mean over all vectors (B, D, ...), (D,), scaled to their mean length."""
    vectors = torch.cat([each.float().transpose(0, 1).flatten(1) for each in features], 1)
    mean = vectors.mean(1)
    return mean * (vectors.norm(dim=0).mean() / mean.norm())


class BlankImage(Baseline):
    """The depth that the head sees in an image of one colour.

    Args:
        grid: outputs of the model for blank images.
        colour: red, green and blue in [0, 1].
        name: name of the row.
    """

    def __init__(self, grid: Grid, colour: tuple[float, ...], name: str = "blank image") -> None:
        self.grid = grid
        self.colour = colour
        self.name = name

    def predict(self, item: Item) -> Tensor:
        """Return the depth of the blank image at the size that the model saw, (h, w) metres."""
        size = size_of(item)
        return self.grid.view.upsample(self.grid.blank(size, self.colour).depth, size)[0, 0]


class AnotherImage(Baseline):
    """The prediction of the head for another image: for each test image, that of a training image.

    Args:
        head: head that predicts.
        batches: features of training images.
        computed: needs for which the features were computed.
        view: view of the images.
        text: the text tower.
        name: name of the row.
    """

    @torch.no_grad()
    def __init__(
        self,
        head: Head,
        batches: Sequence[TrainingBatch],
        computed: Needs,
        view: View,
        text: TextEncoder,
        name: str = "another image's depth",
    ) -> None:
        self.view = view
        self.name = name
        self.depths: list[Tensor] = []
        for batch in batches:
            output = head(batch.features.select(computed, head.needs), text)
            self.depths += stitch(output, view.windows(*batch.size)).depth

    def predict(self, item: Item) -> Tensor:
        """Return the depth of a training image at the size of the test image, (h, w) metres."""
        depth = self.depths[item.index % len(self.depths)]
        return self.view.upsample(depth[None], size_of(item))[0, 0]
