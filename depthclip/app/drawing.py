"""Drawings of the page as HTML and SVG: the scale of the depth, the weights of the words, and the histogram."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw

from depthclip.pictures import colour_depth

WEIGHT_MAP = "viridis"
BARS = 60
WIDTH, HEIGHT, BASE = 460, 150, 105  # of the histogram; BASE is the height of its axis
MOST_MAPS = 200  # words whose weights are drawn; a page with more cannot be read


def gradient(colours: np.ndarray) -> str:
    """Return colours (N, 3) uint8 as a CSS gradient from left to right."""
    return f"linear-gradient(to right, {', '.join(hexadecimal(each) for each in colours)})"


def hexadecimal(colour: np.ndarray) -> str:
    """Return a colour (3,) uint8 as in HTML, such as `#ff8000`."""
    return f"#{colour.tobytes().hex()}"


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return round numbers from `low` to `high`, about `count` of them."""
    candidates = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(each) for each in candidates if low <= each <= high]


def scale_bar(near: float, far: float) -> str:
    """Return the scale of a map that `colour_depth` draws between two depths in metres, as HTML."""
    colours = colour_depth(np.linspace(near, far, 24, dtype=np.float32)[None], near, far)[0]
    marks = "".join(
        f'<span style="left:{100 * (each - near) / (far - near):.2f}%">{each:g}</span>' for each in ticks(near, far)
    )
    return (
        f'<div class="scale"><div class="bar" style="background:{gradient(colours)}"></div>'
        f'<div class="marks">{marks}</div><div class="unit">depth in metres</div></div>'
    )


def weight_maps(words: Sequence[str], bins: Sequence[float], weights: np.ndarray) -> str:
    """Return the weight of each word in each patch as HTML, with the word, its depth and its mean weight.

    Args:
        words: K words.
        bins: their depths in metres.
        weights: (K, h, w) in [0, 1].
    """
    colours = (colormaps[WEIGHT_MAP](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    largest = max(float(weights.max()), 1e-6)
    figures = []
    for word, depth, each in list(zip(words, bins, weights, strict=True))[:MOST_MAPS]:
        picture = colours[np.minimum(each / largest * 256, 255).astype(np.uint8)]
        figures.append(
            f'<figure><img alt="" src="{data_url(picture)}" style="aspect-ratio:{each.shape[1]}/{each.shape[0]}">'
            f"<figcaption><b>{escape(word)}</b><span>{depth:.3g} m · {each.mean():.0%}</span></figcaption></figure>"
        )
    bar = (
        f'<div class="scale"><div class="bar" style="background:{gradient(colours[::11])}"></div><div class="marks">'
        f'<span style="left:0%">0</span><span style="left:100%">{largest:.0%}</span></div>'
        '<div class="unit">weight of the word in the patch</div></div>'
    )
    left = f"<p>{MOST_MAPS} of {len(words)} words are drawn.</p>" if len(words) > MOST_MAPS else ""
    return f'<div class="weights">{"".join(figures)}</div>{bar}{left}'


def histogram(depth: np.ndarray, bins: Sequence[float], near: float, far: float) -> str:
    """Return the histogram of a depth map as SVG, with a mark at the depth of each word.

    Args:
        depth: (H, W) in metres.
        bins: depths of the words in metres.
        near: the depth at the near end of the colours in metres.
        far: the depth at their far end in metres.
    """
    low, high = min(*bins, float(depth.min())), max(*bins, float(depth.max()))
    margin = 0.03 * max(high - low, 0.1)
    low, high = max(0.0, low - margin), high + margin
    counts, edges = np.histogram(depth, BARS, (low, high))
    colours = colour_depth(((edges[1:] + edges[:-1]) / 2)[None], near, far)[0]
    step, tallest = WIDTH / BARS, max(int(counts.max()), 1)

    def across(metres: float) -> float:
        return (metres - low) / (high - low) * WIDTH

    bars = "".join(
        f'<rect x="{k * step:.1f}" y="{BASE - 85 * count / tallest:.1f}" width="{step - 1:.1f}" '
        f'height="{85 * count / tallest:.1f}" fill="{hexadecimal(colour)}"/>'
        for k, (count, colour) in enumerate(zip(counts, colours, strict=True))
        if count
    )
    marks = "".join(
        f'<path d="M{across(each):.1f} {BASE + 2}l4 8h-8z" fill="currentColor" opacity="0.55"/>' for each in bins
    )
    labels = "".join(
        f'<text x="{across(each):.1f}" y="{BASE + 27}" text-anchor="middle">{each:g}</text>'
        for each in ticks(low, high)
    )
    share = counts.max() / max(counts.sum(), 1)
    return (
        f'<svg class="histogram" viewBox="-12 0 {WIDTH + 24} {HEIGHT + 6}" role="img" '
        f'aria-label="histogram of depths"><text x="0" y="12">up to {share:.0%} of the pixels</text>{bars}'
        f'<path d="M0 {BASE}H{WIDTH}" stroke="currentColor" opacity="0.5"/>{marks}{labels}'
        f'<text x="{WIDTH / 2}" y="{HEIGHT + 2}" text-anchor="middle">depth in metres; ▲ depth of a word</text></svg>'
    )


def marked(picture: np.ndarray, point: tuple[int, int] | None) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 with a ring around a point (x, y) in pixels; unchanged without a point."""
    if point is None:
        return picture
    image, reach = Image.fromarray(picture), max(3, max(picture.shape) // 60)
    draw = ImageDraw.Draw(image)
    for width, colour in ((3, "black"), (1, "white")):
        box = (point[0] - reach, point[1] - reach, point[0] + reach, point[1] + reach)
        draw.ellipse(box, outline=colour, width=width)
    return np.asarray(image)


def data_url(picture: np.ndarray) -> str:
    """Return a small picture (H, W, 3) uint8 as a PNG in a `data:` address."""
    content = BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
