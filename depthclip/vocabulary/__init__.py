"""Score how well the similarity of words with patches tells depth, and make recipes of the best words."""

from depthclip.vocabulary.choice import Choice, candidates_of, choose_words, recipe_of
from depthclip.vocabulary.lists import read_words, with_words
from depthclip.vocabulary.patches import Patches, collect_patches, patch_batches
from depthclip.vocabulary.report import leading_of, save_report
from depthclip.vocabulary.scores import Scores, rotated_maxima, score_words
from depthclip.vocabulary.streaming import stream_scores

__all__ = [
    "Choice",
    "Patches",
    "Scores",
    "candidates_of",
    "choose_words",
    "collect_patches",
    "leading_of",
    "patch_batches",
    "read_words",
    "recipe_of",
    "rotated_maxima",
    "save_report",
    "score_words",
    "stream_scores",
    "with_words",
]
