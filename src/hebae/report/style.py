"""One look for every figure, and the one way to a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hebae.errors import HebaeError
from hebae.files import write_atomically

__all__ = [
    "DPI",
    "QUIET",
    "SEQUENTIAL",
    "SIGNED",
    "describe",
    "literal",
    "save",
    "styled",
    "to_png",
]

DPI = 150
_INK = "#222222"
QUIET = "#666666"
SEQUENTIAL = "viridis"  # for sizes: from 0 up
SIGNED = "RdBu_r"  # for signs: white at 0, which must be the middle of the scale

_RC: dict[Any, Any] = {
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,  # letters stay letters: journals refuse Type 3 fonts
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures are alike everywhere
    "font.size": 8.5,
    "text.color": _INK,
    "figure.titlesize": 10.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": _INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
# Writing the date or the version would make two pictures of the same thing differ.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the house style, whatever the user's matplotlibrc says, and put that back after."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def literal(text: str) -> str:
    """Return `text` so that matplotlib draws a dollar sign and does not read it as mathematics."""
    return text.replace("$", r"\$")


def describe(axes: Axes, title: str, note: str = "") -> None:
    """Put `title` above `axes`, and a line of plain words between the two."""
    axes.set_title(literal(title), pad=16 if note else 5)
    axes.annotate(
        literal(note), (0, 1), (0, 4), "axes fraction", "offset points", color=QUIET, fontsize=7.5
    )


def save(figure: Figure, path: Path | str) -> None:
    """Write `figure` to a ``.png`` (150 dots an inch) or ``.pdf`` file, whole or not at all.

    The same figure always gives the same bytes.

    Raises
    ------
    HebaeError
        If the suffix is neither, or the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        raise HebaeError(f"a figure is written as .png or .pdf, and {path.name} is neither.")
    content = _render(figure, kind)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def to_png(figure: Figure) -> bytes:
    """Return the bytes of the PNG that `save` would write."""
    return _render(figure, "png")


def _render(figure: Figure, kind: str) -> bytes:
    content = BytesIO()
    # Parts of a figure, ticks among them, are made only when it is drawn.
    with styled():
        FigureCanvasAgg(figure)
        # A layout that is worked out again at each drawing comes out a little different.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(content, format=kind, metadata=_METADATA[kind])
    return content.getvalue()
