"""Charts as SVG, for pages that are light or dark. They need matplotlib, which the extra ``report`` brings."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

# Legible on white and on black.
INK = "#7d828c"
GOOD, BAD, WARN, IDLE, BLUE = "#3d9970", "#d1495b", "#e0a030", "#9aa0ab", "#4c8bd6"
SIZE = (6.4, 3.0)
"""Inches."""

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gemini-batch",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a text is a $
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def legend(axes: Any) -> None:
    """Write above a chart what its colours are."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, borderaxespad=0, handlelength=1)


def drawn(draw: Callable[[Any], None], size: tuple[float, float] = SIZE) -> str:
    """Return the SVG of a chart.

    :param draw: draws on the axes that it is given.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE), warnings.catch_warnings():
        # Of characters that the fonts of this machine lack; the page is shown with those of its reader.
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        content = io.StringIO()
        figure.savefig(content, format="svg", transparent=True, metadata=_METADATA)
    return content.getvalue()
