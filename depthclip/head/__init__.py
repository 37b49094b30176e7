"""Heads that turn image features into depth in metres, with their prompts and bins."""

from depthclip.head.bins import Bins, LinearBins, LogBins
from depthclip.head.depth_head import DepthHead
from depthclip.head.fitted_bins import FittedBins
from depthclip.head.interfaces import Coarse, Head
from depthclip.head.layers import Adapter
from depthclip.head.learned_bins import ImageBins, LearnedBins
from depthclip.head.learned_context import ConditionalContext, LearnedContext
from depthclip.head.learned_words import LearnedTokens, LearnedWords
from depthclip.head.ordinal_words import OrdinalWords
from depthclip.head.prompts import Prompts
from depthclip.head.scene_bins import SceneBins

__all__ = [
    "Adapter",
    "Bins",
    "Coarse",
    "ConditionalContext",
    "DepthHead",
    "FittedBins",
    "Head",
    "ImageBins",
    "LearnedBins",
    "LearnedContext",
    "LearnedTokens",
    "LearnedWords",
    "LinearBins",
    "LogBins",
    "OrdinalWords",
    "Prompts",
    "SceneBins",
]
