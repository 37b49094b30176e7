"""Combine the outputs for the windows of images, and for images and their mirrored copies."""

from depthclip.head.interfaces import Coarse
from depthclip.protocol import Windows


def stitch(output: Coarse, windows: Windows) -> Coarse:
    """Return the output of B images from that of their B * N windows; bins of the windows of an image are averaged."""
    logits, bins, deviation = output.logits, output.bins, output.deviation
    return Coarse(
        windows.stitch(output.depth),
        None if logits is None else windows.stitch(logits),
        bins if bins is None or bins.ndim == 1 else windows.mean(bins),
        None if deviation is None else windows.stitch(deviation),
    )


def mean_of_mirrored(output: Coarse) -> Coarse:
    """Return the output of B images from that of B images and their B mirrored copies.

    The depth is the mean of both, the mirrored one mirrored back; all other fields are those of the images as they are.
    """
    count = len(output.depth) // 2
    straight, mirrored = output.images(slice(count)), output.images(slice(count, None)).flipped()
    return straight._replace(depth=(straight.depth + mirrored.depth) / 2, mirrored=mirrored)
