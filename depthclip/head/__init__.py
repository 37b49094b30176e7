"""What turns features into metres: prompts, bins and the depth head."""

from depthclip.head.adapter import Adapter
from depthclip.head.bins import Bins, LinearBins, LogBins
from depthclip.head.depth_head import DepthHead
from depthclip.head.interfaces import Coarse, Head
from depthclip.head.learned_bins import FittedBins, ImageBins, LearnedBins, SceneBins
from depthclip.head.learned_prompts import ConditionalContext, LearnedContext, LearnedTokens, LearnedWords
from depthclip.head.prompts import Prompts

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
    "Prompts",
    "SceneBins",
]
