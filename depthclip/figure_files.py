"""Write figures as PNG, or as PDF and SVG for papers."""

from pathlib import Path
from typing import BinaryIO, Literal, get_args

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DPI = 150
MOST_PIXELS = 60_000  # along a side; matplotlib draws fewer than 2**16
Vector = Literal["pdf", "svg"]
VECTORS: tuple[str, ...] = get_args(Vector)
UNDATED: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}  # the same bytes each time


def write_figure(figure: Figure, file: BinaryIO, file_type: str) -> None:
    """Write a figure.

    A PDF embeds its fonts as TrueType, and an SVG keeps text as text, so that both can be edited.

    Args:
        figure: the figure.
        file: opened binary file.
        file_type: `png`, with at least 150 pixels per inch unless the figure is longer than 10 metres, `pdf` or `svg`.
    """
    dpi = min(DPI, MOST_PIXELS / max(figure.get_size_inches()))
    if file_type not in VECTORS:
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        # without alpha, which would make the file larger
        Image.fromarray(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])).save(
            file, "PNG", dpi=(dpi, dpi)
        )
        return
    # fonts as TrueType, and text as text
    with rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "depthclip"}):
        figure.savefig(file, format=file_type, dpi=2 * dpi, metadata=UNDATED[file_type])


def copies(path: Path, vector: str | None) -> list[Path]:
    """Return the files of a picture: the PNG, and with `vector` a file of the same name in this format.

    Args:
        path: path of the PNG.
        vector: `pdf`, `svg` or None.
    """
    return [path, *([path.with_suffix(f".{vector}")] if vector else [])]
