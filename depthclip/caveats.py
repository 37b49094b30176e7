"""Warnings about figures that are correct but probably unintended."""

import warnings
from collections.abc import Sequence

from depthclip.head.depth_head import DepthHead
from depthclip.module import DepthCLIP
from depthclip.protocol import Scoring
from depthclip.shown import Shown

SATURATED, ALMOST_ALL = 0.999, 0.99


def warn_of_caveats(model: DepthCLIP, scoring: Scoring | None) -> None:
    """Warn of a softmax that is saturated, and of bins beyond the scored depths, on the images of the pictures."""
    head = model.head
    if isinstance(head, DepthHead) and head.assignment == "soft" and saturated(model.shown):
        warnings.warn(
            "the softmax over words is saturated: nearly every patch takes the bin of a single word, as with "
            "assignment: hard; raise model.head.temperature or lower model.head.logit_scale",
            stacklevel=2,
        )
    if scoring is None or scoring.alignment != "none" or scoring.max_depth is None:
        return
    if beyond := reach_beyond(model, scoring.max_depth):
        rows = ", ".join(f"{name!r} (to {metres:g} m)" for name, metres in beyond.items())
        warnings.warn(
            f"the bins of {rows} reach beyond scoring.max_depth {scoring.max_depth:g} m, at which predictions are "
            "clamped; check the bins, or set scoring.max_depth",
            stacklevel=2,
        )


def saturated(shown: Sequence[Shown]) -> bool:
    """Return whether one of several words has nearly all the weight in nearly all patches of some images."""
    weights = [one.weights.flatten(1).amax(0) for one in shown if one.weights is not None and len(one.weights) > 1]
    patches = sum(len(largest) for largest in weights)
    return patches > 0 and sum(int((largest > SATURATED).sum()) for largest in weights) > ALMOST_ALL * patches


def reach_beyond(model: DepthCLIP, max_depth: float) -> dict[str, float]:
    """Return the largest bin in metres of each head that has one beyond `max_depth`, by name."""
    farthest = [max(float(one.farthest[k]) for one in model.shown) for k in range(len(model.names)) if model.shown]
    # bins such as 80 m have been through float32
    return {n: far for n, far in zip(model.names, farthest, strict=False) if far > max_depth * (1 + 1e-5)}
