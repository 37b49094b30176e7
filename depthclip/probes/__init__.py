"""Probes, oracles and controls that split the error of a depth head by its causes: resolution, bins, features, words."""

from depthclip.probes.controls import AnotherImage, BlankImage, MeanFeature, PermutedPrompts, nonsense, with_prompts
from depthclip.probes.learning import learn, learned_words
from depthclip.probes.oracles import BinnedTruth, Grid, PatchTruth, patch_means
from depthclip.probes.probes import NetworkProbe, RidgeProbe
from depthclip.probes.training import TrainingBatch, encode_training

__all__ = [
    "AnotherImage",
    "BinnedTruth",
    "BlankImage",
    "Grid",
    "MeanFeature",
    "NetworkProbe",
    "PatchTruth",
    "PermutedPrompts",
    "RidgeProbe",
    "TrainingBatch",
    "encode_training",
    "learn",
    "learned_words",
    "nonsense",
    "patch_means",
    "with_prompts",
]
