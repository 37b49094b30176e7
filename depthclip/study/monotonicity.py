"""A table of the monotonicity of words, for the notes of studies."""

from depthclip.study.collect import Results


def monotonicity_table(results: Results) -> str:
    """Return a Markdown table of the monotonicity of the words by variant, "" if no run has any.

    Variants whose words depend on the image have no entry; see `depthclip.head.monotonicity`.
    """
    values = {name: value for run in results.runs for name, value in run["monotonicity"].items()}
    lines = [f"| {name} | {value:.3f} |" for name, value in values.items()]
    return "\n".join(["| | monotonicity of the words |", "|:--|--:|", *lines]) if lines else ""
