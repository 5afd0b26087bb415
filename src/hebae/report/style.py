"""The style that all figures share, and how they are written to files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from hebae.errors import HebaeError
from hebae.files import write_atomically
from hebae.report.methods import Look

DPI = 150
INK = "#222222"
QUIET = "#666666"
SEQUENTIAL = "viridis"  # for values from 0 up
_LETTERS_PER_INCH = 14  # of a legend

_RC = mpl.rc_params_from_file(
    str(resources.files("hebae.report") / "hebae.mplstyle"), use_default_template=False
)
# No date and no version, so that equal figures give equal files.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this style whatever the user's matplotlibrc says, and restore that afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def new_figure(
    width: float,
    height: float,
    drawn: Collection[object],
    title: str = "",
    *,
    what: str = "model",
    **layout: Any,
) -> Figure:
    """Return an empty figure with a constrained layout and a title; sizes are in inches.

    If nothing is to be `drawn`, a HebaeError says that no `what` was given.
    """
    if not drawn:
        raise HebaeError(f"There is nothing to draw: no {what} was given.")
    layout = {"w_pad": 0.08, "h_pad": 0.08, **layout}
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(**layout))
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", wrap=True)
    return figure


def add_legend(figure: Figure, looks: Iterable[Look], *more: Artist) -> None:
    """Put a legend of lines and `more` below the axes, in as many rows as its labels need."""
    handles = [
        *(Line2D([], [], color=o.colour, marker=o.marker, label=literal(o.name)) for o in looks),
        *more,
    ]
    # A handle takes about as much room as ten letters.
    letters = sum(len(str(handle.get_label())) + 10 for handle in handles)
    rows = -(-letters // int(_LETTERS_PER_INCH * figure.get_figwidth())) or 1
    columns = max(1, -(-len(handles) // rows))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns)


def literal(text: str) -> str:
    """Return `text` so that matplotlib draws a dollar sign and does not read it as mathematics."""
    return text.replace("$", r"\$")


def describe(axes: Axes, title: str, note: str = "") -> None:
    """Put `title` above `axes`, and a smaller note between the two."""
    axes.set_title(literal(title), pad=16 if note else 5)
    axes.annotate(
        literal(note), (0, 1), (0, 4), "axes fraction", "offset points", color=QUIET, fontsize=7.5
    )


def save(figure: Figure, path: Path | str) -> None:
    """Write a ``.png`` (150 dots per inch) or ``.pdf`` file; equal figures give equal files."""
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        raise HebaeError(
            f"A figure cannot be written as {path.name}: choose a name that ends in .png or .pdf."
        )
    content = render(figure, kind)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def render(figure: Figure, kind: str = "png") -> bytes:
    """Return the content of the file that `save` would write."""
    content = BytesIO()
    with styled():  # ticks, for example, are only made when a figure is drawn
        FigureCanvasAgg(figure)
        # Each run of the layout engine changes the layout a little, so it runs once.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(content, format=kind, metadata=_METADATA[kind])
    return content.getvalue()
