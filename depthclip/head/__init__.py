"""What turns features into metres: prompts, bins and the depth head."""

from depthclip.head.bins import Bins, LinearBins, LogBins
from depthclip.head.depth_head import Coarse, DepthHead
from depthclip.head.prompts import Prompts

__all__ = ["Bins", "Coarse", "DepthHead", "LinearBins", "LogBins", "Prompts"]
