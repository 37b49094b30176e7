"""The weights of words in the patches of images, one map for each word."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from depthclip.pictures.colours import WEIGHT_MAP, top_of
from depthclip.pictures.maps import draw_image, draw_map
from depthclip.pictures.page import MARGIN, WIDTH, Page
from depthclip.pictures.scale import BAR, GAP, TICK, add_scale, metres, share
from depthclip.pictures.text import LARGE, height_of, width_of, wrap

if TYPE_CHECKING:  # data sets have pictures too, and do not know of heads
    from depthclip.shown import Shown

MOST_WORDS = 14  # in a picture
MOST_WIDTH = 1.2  # inches, of a map
LINES = 3  # of a word
BETWEEN = 0.05  # inches between maps
ROOM = GAP + BAR + TICK + width_of("0.25") + 0.04  # of the scale bar with its ticks


class Words:
    """Rows of maps below a panel: an image and the weight of each word in its patches, under one scale of colours.

    The words are in the order of their bins, and stand above their maps with their bin in metres. If there are more
    than `MOST_WORDS`, some are drawn, evenly spread, and the picture states how many.

    Args:
        samples: images; those without weights have no row.
        words: labels of the K words.
    """

    def __init__(self, samples: Sequence["Shown"], words: Sequence[str]) -> None:
        self.samples = [one for one in samples if one.weights is not None] if words else []
        self.width = self.height = 0.0
        if not self.samples:
            return
        bins = [one.bins.flatten() for one in self.samples if one.bins is not None]
        ordered = torch.stack(bins).mean(0).argsort(stable=True).tolist() if bins else list(range(len(words)))
        kept = np.linspace(0, len(words) - 1, min(len(words), MOST_WORDS)).round().astype(int)
        self.shown = [ordered[k] for k in kept]
        few = f": {len(self.shown)} of {len(words)} words shown" if len(self.shown) < len(words) else ""
        self.title = f"weight of each word{few}"
        free = WIDTH - 2 * MARGIN - ROOM
        self.column = min(free / (len(self.shown) + 1) - BETWEEN, MOST_WIDTH)
        names = [wrap(words[k], self.column + BETWEEN / 2, LINES) for k in self.shown]
        depths = [depths_of([float(each[k]) for each in bins]) for k in self.shown] if bins else []
        self.labels = [f"{n}\n{d}" for n, d in zip(names, depths, strict=True)] if depths else names
        ratios = [one.rgb.shape[1] / one.rgb.shape[2] for one in self.samples]
        self.heights = [max(0.25, self.column * min(ratio, 1.2)) for ratio in ratios]
        self.above = height_of(1, LARGE) + height_of(max(label.count("\n") + 1 for label in self.labels)) + 0.05
        self.width = 2 * MARGIN + (len(self.shown) + 1) * (self.column + BETWEEN) + ROOM
        self.height = self.above + sum(self.heights) + BETWEEN * len(self.heights)

    def draw(self, page: Page, top: float) -> None:
        """Draw the rows.

        Args:
            page: page with room of `height` inches.
            top: upper edge of the rows in inches.
        """
        if not self.samples:
            return
        weights = [one.weights.numpy()[self.shown] for one in self.samples if one.weights is not None]
        highest = min(1.0, max(top_of([each]) for each in weights))
        step = self.column + BETWEEN
        page.text(MARGIN, top, self.title, size=LARGE)
        first = top + self.above
        for k, label in enumerate(self.labels, 1):
            page.text(MARGIN + k * step + self.column / 2, first - 0.03, label, "center", "bottom")
        top = first
        for one, maps, height in zip(self.samples, weights, self.heights, strict=True):
            width = min(self.column, height * one.rgb.shape[2] / one.rgb.shape[1])
            inset = (self.column - width) / 2
            draw_image(page.axes(MARGIN + inset, top, width, height), one.rgb)
            for k, each in enumerate(maps, 1):
                axes = page.axes(MARGIN + k * step + inset, top, width, height)
                draw_map(axes, each, 0, highest, WEIGHT_MAP, smooth=False)
            top += height + BETWEEN
        place = MARGIN + (len(self.shown) + 1) * step - BETWEEN + GAP
        tall = min(top - BETWEEN - first, 2.0)
        add_scale(page.axes(place, first, BAR, tall), 0, highest, WEIGHT_MAP, share)


def depths_of(bins: Sequence[float]) -> str:
    """Return the depth of a bin, or the range of its depths if they differ among images."""
    low, high = f"{min(bins):.3g}", f"{max(bins):.3g}"
    return metres(min(bins)) if low == high else f"{low}\N{EN DASH}{high} m"
