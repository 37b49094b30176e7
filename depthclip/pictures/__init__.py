"""Pictures: colour maps of depth, and panels that show where an estimate comes from."""

from depthclip.pictures.colours import colour_depth, depth_range
from depthclip.pictures.panel import draw_panel, panel
from depthclip.pictures.scale import picture_of_depth, with_scale
from depthclip.pictures.variants import compare_heads, draw_heads, title_of

__all__ = [
    "colour_depth",
    "compare_heads",
    "depth_range",
    "draw_heads",
    "draw_panel",
    "panel",
    "picture_of_depth",
    "title_of",
    "with_scale",
]
