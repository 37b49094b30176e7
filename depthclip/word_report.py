"""Figures about the words of the heads, for the report of a run."""

from collections.abc import Mapping

from depthclip.estimator import DepthEstimator
from depthclip.head.monotonicity import word_monotonicity


def monotonicity_of_rows(model: DepthEstimator) -> dict[str, float]:
    """Return the monotonicity of the words of each head that has it, by row; see `word_monotonicity`."""
    values = {
        name: word_monotonicity(head, model.encoder.text) for name, head in zip(model.names, model.heads, strict=True)
    }
    return {name: value for name, value in values.items() if value is not None}


def monotonicity_text(values: Mapping[str, float]) -> str:
    """Return a line with the monotonicity of the words by row."""
    return "monotonicity of the words: " + ", ".join(f"{name} {value:.3f}" for name, value in values.items())
