"""Probes, oracles and controls that split the error of a head by its causes: resolution, bins, features, words."""

from depthclip.probes.controls import AnotherImage, BlankImage, MeanFeature, PermutedPrompts, nonsense, with_prompts
from depthclip.probes.ladder import Ladder, Rung, build_ladder, row_of
from depthclip.probes.learning import learn, learned_words
from depthclip.probes.oracles import BinnedTruth, Grid, PatchTruth, patch_means
from depthclip.probes.probes import NetworkProbe, RidgeProbe
from depthclip.probes.training import TrainingBatch, encode_training
from depthclip.probes.waterfall import blank_table, draw_waterfall, step_tables

__all__ = [
    "AnotherImage",
    "BinnedTruth",
    "BlankImage",
    "Grid",
    "Ladder",
    "MeanFeature",
    "NetworkProbe",
    "PatchTruth",
    "PermutedPrompts",
    "RidgeProbe",
    "Rung",
    "TrainingBatch",
    "blank_table",
    "build_ladder",
    "draw_waterfall",
    "encode_training",
    "learn",
    "learned_words",
    "nonsense",
    "patch_means",
    "row_of",
    "step_tables",
    "with_prompts",
]
