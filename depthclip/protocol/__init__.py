"""Protocols: the part of an image that the model sees, the pixels that are scored, and the presets of the field."""

from depthclip.protocol.box import Box, Crop, seen_in_truth
from depthclip.protocol.presets import SCORINGS, VIEWS, scoring_of, spell_out, view_of
from depthclip.protocol.scoring import Aligned, Scoring, median
from depthclip.protocol.view import View
from depthclip.protocol.windows import Windows

__all__ = [
    "SCORINGS",
    "VIEWS",
    "Aligned",
    "Box",
    "Crop",
    "Scoring",
    "View",
    "Windows",
    "median",
    "scoring_of",
    "seen_in_truth",
    "spell_out",
    "view_of",
]
