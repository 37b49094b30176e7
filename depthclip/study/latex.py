"""Format the table of results as LaTeX with booktabs."""

from depthclip.study.collect import Results
from depthclip.study.tables import ALIGNMENT, HOLM, TEST_SET, VERDICT, Layout, lines

ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        **{character: f"${character}$" for character in "<>|"},
        # LaTeX reads these characters after `\\` as an argument of it
        **{character: f"{{{character}}}" for character in "[*"},
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "Δ": r"$\Delta$",
    }
)


def latex_table(results: Results, layout: Layout) -> str:
    """Return the table as a `tabular` environment for the package booktabs, with a rule between kinds of lines."""
    columns = layout.columns
    text = {TEST_SET, ALIGNMENT, VERDICT, HOLM}
    alignment = "l" + "".join("l" if column in text else "r" for column in columns)

    def cell(column: str, value: str) -> str:
        # a minus sign in LaTeX is a hyphen in math mode
        return value.translate(ESCAPES) if column in text else value.replace("-", "$-$")

    body = []
    kind = None
    for line in lines(results, layout):
        if kind is not None and line.kind != kind:
            body.append(r"\midrule")
        kind = line.kind
        values = [line.name.translate(ESCAPES), *(cell(column, line.texts.get(column, "")) for column in columns)]
        body.append(" & ".join(values) + r" \\")
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            " & ".join(["", *(layout.header(column).translate(ESCAPES) for column in columns)]) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )
