"""Protocols: the part of an image that the model sees, the pixels that are scored, and the presets of the field."""

from depthclip.protocol.alignment import ALIGNMENTS, Alignment, align_depth, check_alignments, median
from depthclip.protocol.box import Box, Crop, seen_in_truth
from depthclip.protocol.presets import SCORINGS, VIEWS, scoring_of, spell_out, view_of
from depthclip.protocol.scoring import Aligned, Scoring
from depthclip.protocol.view import View
from depthclip.protocol.windows import Windows

__all__ = [
    "ALIGNMENTS",
    "SCORINGS",
    "VIEWS",
    "Aligned",
    "Alignment",
    "Box",
    "Crop",
    "Scoring",
    "View",
    "Windows",
    "align_depth",
    "check_alignments",
    "median",
    "scoring_of",
    "seen_in_truth",
    "spell_out",
    "view_of",
]
