"""A figure whose axes and texts are placed in inches from its upper left corner."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from depthclip.pictures.text import SMALL

WIDTH = 9.0  # inches: text of 8 points is about 11 pixels high on a page of 880 pixels
MARGIN = 0.08


class Page:
    """A figure whose axes and texts are placed in inches from its upper left corner.

    Args:
        height: height in inches.
        width: width in inches.
    """

    def __init__(self, height: float, width: float = WIDTH) -> None:
        self.figure = Figure(figsize=(width, height))
        self.width = width
        self.height = height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes without ticks.

        Args:
            left: left edge in inches.
            top: upper edge in inches below the top of the page.
            width: width in inches.
            height: height in inches.
        """
        bottom = self.height - top - height
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(linewidth=0.5, color="0.4")
        return axes

    def text(
        self,
        left: float,
        top: float,
        text: str,
        across: str = "left",
        down: str = "top",
        size: float = SMALL,
        weight: str = "normal",
    ) -> Text:
        """Add a text, in which a dollar or a backslash stands for itself.

        Args:
            left: anchor in inches.
            top: anchor in inches below the top of the page.
            text: the text, which may have several lines.
            across: the part of the text at the anchor: left, center or right.
            down: the part of the text at the anchor: top, center or bottom.
            size: size of the font in points.
            weight: weight of the font.
        """
        place = left / self.width, 1 - top / self.height
        return self.figure.text(
            *place, text, ha=across, va=down, fontsize=size, fontweight=weight, linespacing=1.2, parse_math=False
        )
