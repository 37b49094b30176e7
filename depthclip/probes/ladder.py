"""The ladder: from the ground truth over probes and words down to a blank image, each rung with one cause of error."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from depthclip.data.module import DepthDataModule
from depthclip.encoder.interfaces import Needs
from depthclip.errors import InputError
from depthclip.evaluation.baselines import Baseline
from depthclip.evaluation.evaluation import TRAINING_CONSTANT, TRAINING_MAP
from depthclip.fit_heads import calibrate_heads, depths_for_heads
from depthclip.head.depth_head import DepthHead
from depthclip.head.interfaces import Head
from depthclip.head.prompts import Prompts
from depthclip.module import DepthCLIP
from depthclip.probes.controls import AnotherImage, BlankImage, MeanFeature, PermutedPrompts, nonsense, with_prompts
from depthclip.probes.learning import learn, learned_words
from depthclip.probes.oracles import BinnedTruth, Grid, PatchTruth
from depthclip.probes.probes import NetworkProbe, RidgeProbe
from depthclip.probes.training import TrainingBatch, encode_training, mean_colour

DEEPEST = 4  # layers of the tower
DRAWS = 5  # of nonsense words and of permutations


class Rung(NamedTuple):
    """A row of the ladder.

    Args:
        name: name of the row.
        cause: the cause of the error that the row adds to the row above, in a few words; "" for a control.
        isolates: a sentence on the row.
    """

    name: str
    cause: str
    isolates: str


WORDS = "words of the recipe"
LEARNED = "learned words and bins"
NETWORK_LAYERS, NETWORK = "network probe, several layers", "network probe, last map"
RIDGE_LAYERS, RIDGE = "ridge probe, several layers", "ridge probe, last map"
NONSENSE, PERMUTED = "nonsense words", "permuted words"
PATCHES, BINNED, MEAN, ANOTHER = "truth per patch", "truth within the bins", "mean feature", "another image's depth"
BLANK = "blank image, mean colour"
COLOURS = {"black image": (0.0, 0.0, 0.0), "grey image": (0.5, 0.5, 0.5), "white image": (1.0, 1.0, 1.0)}

STEPS = (
    Rung(PATCHES, "resolution", "The mean ground truth of each patch: no coarse map can do much better."),
    Rung(BINNED, "bins", "The best convex weights of the bins in each patch: depth beyond the bins is lost."),
    Rung(
        NETWORK_LAYERS,
        "features",
        "A two-layer network on several layers: what the frozen tower does not hold is lost.",
    ),
    Rung(NETWORK, "last map", "The same network on the map that the words read: what the readout dropped is lost."),
    Rung(
        LEARNED,
        "form of words",
        "As many words and bins, fitted to the same images: only similarities with words count.",
    ),
    Rung(WORDS, "choice of words", "The sentences and bins of the recipe: the error of language as it is."),
    Rung(BLANK, "no image", "The same words for an image of the mean colour of the training images."),
)
CONTROLS = (
    Rung(RIDGE_LAYERS, "", "Ridge regression on several layers: the part of the features that is linear in log depth."),
    Rung(RIDGE, "", "Ridge regression on the map that the words read."),
    Rung(NONSENSE, "", f"Words without meaning in the same sentences, {DRAWS} draws: what any words get."),
    Rung(PERMUTED, "", f"The words in a wrong order, {DRAWS} permutations: what the bins get without the meaning."),
    Rung(ANOTHER, "", "The words' depth of a training image: what the typical layout of a scene gets."),
    Rung(MEAN, "", "The words for the mean training feature in every patch: what the words prefer without an image."),
    *(Rung(name, "", "The words for an image of this colour.") for name in COLOURS),
    Rung(TRAINING_CONSTANT, "", "The median depth of the training images: no image and no words."),
    Rung(TRAINING_MAP, "", "The median depth at each position in the training images."),
)


@dataclass(frozen=True)
class Ladder:
    """The rungs of a model that are not its head.

    Args:
        heads: heads by name, fitted to the training images; the draws of nonsense words and permutations are numbered.
        baselines: oracles and predictions that do not depend on the image.
        missing: reasons of the rungs that the encoder does not allow, by name.
        grid: outputs for blank images.
        colour: the mean colour of the training images.
    """

    heads: Mapping[str, Head]
    baselines: Sequence[Baseline]
    missing: Mapping[str, str]
    grid: Grid
    colour: tuple[float, ...]

    def blanks(self) -> dict[str, tuple[float, str]]:
        """Return the median depth in metres and the word with the largest weight for each blank image, by its row."""
        found = {}
        for name, colour in {BLANK: self.colour, **COLOURS}.items():
            for (_, given), output in self.grid.outputs.items():
                if given == colour and output.weights is not None:
                    word = int(output.weights.mean((0, 2, 3)).argmax())
                    found[name] = (float(output.depth.median()), self.grid.model.head.labels[word])
        return found


def build_ladder(model: DepthCLIP, data: DepthDataModule, steps: int = 600) -> Ladder:
    """Return the rungs of a model, fitted to `model.training_images` training images, each of which is encoded once.

    Args:
        model: model with a DepthHead.
        data: data module with a training split.
        steps: number of training steps of each network and of the learned words.

    Raises:
        InputError: if the head has no words and bins that all images share, or there is no training image with depth.
    """
    head, text, scoring = model.head, model.encoder.text, data.scoring
    if not isinstance(head, DepthHead):
        raise InputError(f"model.head {type(head).__name__} has no words and bins; use a DepthHead")
    if any(each.needs_depths for each in model.heads):
        for _ in depths_for_heads(model.heads, data, model.training_images):
            pass
    if any(each.needs_images for each in model.heads):
        calibrate_heads(model, data, model.training_images)
    grid = Grid(model, data.view)
    size = (224, 224)  # any size shows the bins
    patches, binned = PatchTruth(grid, scoring, PATCHES), BinnedTruth(grid, scoring, grid.blank(size).bins, BINNED)
    grid.outputs.clear()
    layers = deepest(model)
    computed = Needs(layers=layers) | head.needs
    batches = encode_training(model, data, computed, model.training_images)
    layers = layers if batches[0].features.layers else ()  # an encoder of the user may compute none
    missing: dict[str, str] = {}
    heads: dict[str, Head] = {}
    for name, ridge, chosen in ((NETWORK_LAYERS, RIDGE_LAYERS, layers), (NETWORK, RIDGE, ())):
        if name == NETWORK_LAYERS and not layers:
            missing |= dict.fromkeys((name, ridge), f"{type(model.encoder).__name__} has no intermediate maps.")
            continue
        heads[name] = network = NetworkProbe(chosen)
        network.fit_patches(batches, computed)
        learn(network, batches, computed, text, steps, learning_rate=1e-3, weight_decay=1.0)
        heads[ridge] = linear = RidgeProbe(chosen)
        linear.fit_patches(batches, computed)
    try:
        learned = learned_words(head, binned.bins, scoring, text)
        learn(learned, batches, computed, text, steps, learning_rate=0.05, weight_decay=0.0)
        heads[LEARNED] = learned
    except InputError as error:  # a text tower that encodes whole sentences only
        missing[LEARNED] = str(error)
    heads |= wrong_words(model, head, batches, computed)
    heads[MEAN] = MeanFeature(head, batches)
    colour = mean_colour(batches)
    blanks = [BlankImage(grid, shade, name) for name, shade in {BLANK: colour, **COLOURS}.items()]
    another = AnotherImage(head, batches, computed, data.view, text, ANOTHER)
    return Ladder(heads, [patches, binned, another, *blanks], missing, grid, colour)


def wrong_words(
    model: DepthCLIP, head: DepthHead, batches: Sequence[TrainingBatch], computed: Needs
) -> dict[str, Head]:
    """Return the head with nonsense words and with its words in wrong orders, calibrated if the head is."""
    prompts, text = head.prompts, model.encoder.text
    heads: dict[str, Head] = {}
    for seed in range(DRAWS):
        words = Prompts(nonsense(len(head.labels), seed))
        if type(prompts) is Prompts:  # learned prompts have no sentences without blanks
            words = Prompts(words.words, prompts.templates, prompts.objects, prompts.centred)
        for name, other in ((NONSENSE, words), (PERMUTED, PermutedPrompts(prompts, seed))):
            with warnings.catch_warnings():  # of their order, which is meant to be wrong
                warnings.simplefilter("ignore", UserWarning)
                heads[numbered(name, seed)] = changed = with_prompts(head, other, text)
            if changed.needs_images:
                with torch.no_grad():
                    for batch in batches:
                        changed.calibrate(batch.features.select(computed, changed.needs), text)
                changed.finish_calibration()
    return heads


def numbered(name: str, seed: int) -> str:
    """Return the name of a draw of nonsense words or of a permutation."""
    return f"{name} {seed + 1}"


def row_of(name: str) -> str:
    """Return the row of the ladder to which a head belongs; draws of the same kind share a row."""
    return next((row for row in (NONSENSE, PERMUTED) if name.startswith(row)), name)


def deepest(model: DepthCLIP) -> tuple[int, ...]:
    """Return the indices of up to four of the last blocks whose maps the encoder computes, counted from the end."""
    layers = []
    for layer in range(-DEEPEST, 0):
        try:
            model.encoder.check(Needs(layers=(layer,)))
        except InputError:
            continue
        layers.append(layer)
    return tuple(layers)
