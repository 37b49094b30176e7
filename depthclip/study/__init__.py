"""Run studies, which score and compare variants of a recipe, with intervals, tables, pictures and tracking."""

from depthclip.study.collect import HEADLINE, Results, Row, make_row
from depthclip.study.command import main
from depthclip.study.monotonicity import monotonicity_table
from depthclip.study.pictures import draw_rows, save_figure, spans
from depthclip.study.plan import StudyError, Variant
from depthclip.study.study import HeadSettings, Options, Study, arguments_of
from depthclip.study.tables import header

__all__ = [
    "HEADLINE",
    "HeadSettings",
    "Options",
    "Results",
    "Row",
    "Study",
    "StudyError",
    "Variant",
    "arguments_of",
    "draw_rows",
    "header",
    "main",
    "make_row",
    "monotonicity_table",
    "save_figure",
    "spans",
]
