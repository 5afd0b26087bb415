"""Figures of images, in which each pixel of an image is a square of whole pixels.

The layout is computed here, since matplotlib's own gives axes whose size is no whole multiple of an
image's.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from hebae.errors import HebaeError
from hebae.report.methods import looks
from hebae.report.pixels import images_across, mosaic, to_uint8
from hebae.report.style import DPI, literal, styled

# In pixels of the figure.
_GAP = 2  # between images
_WIDTH = 1800  # of the images of a row at most, unless they are wider unenlarged
_LARGEST = 112  # side of an image at most
_SPACE = 14  # between panels, and around the figure
_LABEL_LETTERS = 14  # of a label at the left, per line
_LETTER = 13  # average letter of a heading


@styled()
def image_grid(images: ArrayLike, columns: int | None = None, *, title: str = "") -> Figure:
    """Draw images as a mosaic, the first at the upper left.

    Parameters
    ----------
    images : array of float, (n, c, h, w)
        In [0, 1], clipped otherwise; c = 1 (grey) or 3 (colour).
    columns : int, optional
        Images per row; as square as possible by default.
    title : str

    Raises
    ------
    HebaeError
        If `images` are vectors, have other channels, or values that are not finite.
    """
    return _arrange([[_Panel(to_uint8(images), columns)]], title)


@styled()
def samples(
    images: Mapping[str, ArrayLike], columns: int | None = None, *, title: str = ""
) -> Figure:
    """Draw a mosaic of the images of each method; see `image_grid`.

    The mosaics are side by side, in as many rows as let each pixel be 3 x 3, if images are small.
    """
    look = looks(images)
    panels = [
        _Panel(to_uint8(values), columns, heading=look[label].name)
        for label, values in images.items()
    ]
    if not panels:
        return _arrange([], title)
    width = max(panel.across * panel.images.shape[3] for panel in panels)
    side = max(max(panel.images.shape[2:]) for panel in panels)
    per_row = max(1, _WIDTH // (width * max(1, min(3, _LARGEST // side))))
    return _arrange([panels[i : i + per_row] for i in range(0, len(panels), per_row)], title)


@styled()
def sample_table(
    images: Mapping[str, Mapping[str, ArrayLike]],
    columns: int | None = None,
    *,
    title: str = "",
    methods_across: bool = False,
) -> Figure:
    """Draw a table of mosaics: one row per method, one column per sampler.

    Parameters
    ----------
    images : mapping of str to (mapping of str to array of float, (n, c, h, w))
        By method, then by sampler, the same samplers for each method; see `image_grid`.
    columns : int, optional
        Images per row of a mosaic.
    title : str
    methods_across : bool
        Draw one column per method and one row per sampler instead.
    """
    look = looks(images)
    cells = {look[label].name: by_sampler for label, by_sampler in images.items()}
    if methods_across:
        samplers = dict.fromkeys(sampler for ways in images.values() for sampler in ways)
        cells = {
            sampler: {look[label].name: ways[sampler] for label, ways in images.items()}
            for sampler in samplers
        }
    grid = [
        [
            _Panel(
                to_uint8(values),
                columns,
                heading="" if row else above,
                label="" if place else left,
            )
            for place, (above, values) in enumerate(panels.items())
        ]
        for row, (left, panels) in enumerate(cells.items())
    ]
    return _arrange(grid, title)


@styled()
def reconstructions(
    originals: ArrayLike, images: Mapping[str, ArrayLike], *, title: str = ""
) -> Figure:
    """Draw a row of originals, and below it one row of reconstructions per method.

    Parameters
    ----------
    originals : array of float, (n, c, h, w)
    images : mapping of str to array of float, (n, c, h, w)
        By method; image i is the reconstruction of original i.
    title : str
    """
    pixels = to_uint8(originals)
    panels = [_Panel(pixels, len(pixels), label="originals")]
    for label, look in looks(images).items():
        panel = _Panel(to_uint8(images[label]), len(pixels), label=look.name)
        if panel.images.shape != pixels.shape:
            raise HebaeError(
                f"The reconstructions of {look.name} have shape {panel.images.shape}, but the "
                f"originals {pixels.shape}: there must be one for each."
            )
        panels.append(panel)
    return _arrange([[panel] for panel in panels], title)


@styled()
def interpolations(
    images: Mapping[str, ArrayLike],
    *,
    ends: tuple[str, str] = ("first example", "second example"),
    title: str = "",
) -> Figure:
    """Draw one row per interpolation between two codes, with both ends framed and named.

    Parameters
    ----------
    images : mapping of str to array of float, (pairs, steps, c, h, w)
        By method: decoded codes along each line, both ends included.
    ends : (str, str)
        Names of the first and of the last image of a row.
    title : str
    """
    look = looks(images)
    panels: list[_Panel] = []
    for label, values in images.items():
        array = np.asarray(values)
        if array.ndim != 5 or array.shape[1] < 2:
            raise HebaeError(
                f"The interpolations of {look[label].name} have shape {array.shape}: they must be "
                "(pairs, steps, c, h, w) with at least 2 steps."
            )
        steps = array.shape[1]
        pixels = to_uint8(array.reshape(-1, *array.shape[2:]))
        over = {0: ends[0], steps - 1: ends[1]}
        panels.append(_Panel(pixels, steps, label=look[label].name, over_columns=over))
    figure = _arrange([[panel] for panel in panels], title)
    for axes, panel, label in zip(figure.axes, panels, images, strict=True):
        right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
        pitch = (right + _GAP) / panel.across
        for column in (0, panel.across - 1):
            # The frame's line fills the gap and covers no pixel of an image.
            frame = Rectangle(
                (column * pitch - _GAP / 2, -_GAP / 2),
                pitch,
                bottom + _GAP,
                fill=False,
                edgecolor=look[label].colour,
                linewidth=_GAP * 72 / DPI,
                joinstyle="miter",
                clip_on=False,
            )
            axes.add_patch(frame)
    return figure


@dataclass(frozen=True)
class _Panel:
    """A mosaic with text around it.

    Parameters
    ----------
    images : array of uint8, (n, c, h, w)
    columns : int, optional
        Images per row.
    heading, label : str
        Text above it, and to its left.
    over_columns : mapping of int to str
        Small headings of the first and last column, instead of `heading`.
    """

    images: NDArray[np.uint8]
    columns: int | None = None
    heading: str = ""
    label: str = ""
    over_columns: Mapping[int, str] = field(default_factory=dict)

    @property
    def across(self) -> int:
        return images_across(len(self.images), self.columns)


def _arrange(grid: Sequence[Sequence[_Panel]], title: str = "") -> Figure:
    """Draw rows of panels, all images enlarged by the same whole number."""
    if not any(grid):
        raise HebaeError("There is nothing to draw: no method was given.")
    across: int = max(sum(p.across * p.images.shape[3] for p in row) for row in grid)
    side: int = max(max(p.images.shape[2:]) for row in grid for p in row)
    scale = max(1, min(_WIDTH // across, _LARGEST // side))
    rows = [[_Drawing(panel, scale) for panel in row] for row in grid]
    label_width = max(_size(drawing.label)[0] for row in rows for drawing in row)
    left = _SPACE + (label_width + _SPACE // 2 if label_width else 0)
    title_width, title_height = _size(title, "figure.titlesize")
    top = _SPACE + (title_height + _SPACE if title else 0)

    width = left + max(sum(drawing.width + _SPACE for drawing in row) for row in rows)
    width = max(width, title_width + 2 * _SPACE)
    height = top + sum(
        max(d.head for d in row) + max(d.pixels.shape[0] for d in row) + _SPACE for row in rows
    )
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    if title:
        figure.suptitle(literal(title), x=_SPACE / width, y=1 - _SPACE / height, ha="left")
    for row in rows:
        top += max(drawing.head for drawing in row)
        x = left
        # The columns of a table stand below each other.
        for drawing in row:
            h, w = drawing.pixels.shape[:2]
            box = (x / width, 1 - (top + h) / height, w / width, h / height)
            drawing.draw_on(figure.add_axes(box))
            x += drawing.width + _SPACE
        top += max(drawing.pixels.shape[0] for drawing in row) + _SPACE
    return figure


class _Drawing:
    """A panel's pixels, and the room that its text needs."""

    def __init__(self, panel: _Panel, scale: int) -> None:
        self.panel = panel
        self.pixels = mosaic(panel.images, panel.columns, gap=_GAP, scale=scale)
        self.label = textwrap.fill(panel.label, _LABEL_LETTERS)
        letters = max(_LABEL_LETTERS, self.pixels.shape[1] // _LETTER)
        self.heading = textwrap.fill(panel.heading, letters)
        heading_width, heading_height = _size(self.heading, "axes.titlesize", "axes.titleweight")
        over = [_size(text, "xtick.labelsize") for text in panel.over_columns.values()]
        self.width = max(self.pixels.shape[1], heading_width, sum(w + _SPACE for w, _ in over))
        self.head = max([heading_height, *(h for _, h in over)])
        self.head += _SPACE // 2 if self.head else 0

    def draw_on(self, axes: Axes) -> None:
        """Draw on `axes`, which are as large as the pixels."""
        h, w, c = self.pixels.shape
        colours = self.pixels.repeat(3, axis=2) if c == 1 else self.pixels
        # Coordinates count pixels from the upper left corner.
        axes.imshow(colours, extent=(0, w, h, 0), aspect="auto", interpolation="nearest")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
        axes.set_yticks([])
        over = list(self.panel.over_columns.values())
        for text, x, side in zip(
            over, (0, max(w, self.width - _SPACE)), ("left", "right"), strict=False
        ):
            axes.annotate(
                literal(text),
                (x, 0),
                (0, 2),
                textcoords="offset points",
                ha=side,
                va="bottom",
                fontsize=mpl.rcParams["xtick.labelsize"],
            )
        axes.set_title(literal(self.heading), pad=4)
        axes.set_ylabel(
            literal(self.label), rotation="horizontal", ha="right", va="center", labelpad=3
        )


def _size(text: str, size: str = "axes.labelsize", weight: str = "font.weight") -> tuple[int, int]:
    """Return width and height of `text` in pixels, for a font named by two rcParams."""
    if not text:
        return 0, 0
    scratch = Figure(dpi=DPI)
    FigureCanvasAgg(scratch)
    rc: Any = mpl.rcParams
    text_of = scratch.text(0, 0, literal(text), fontsize=rc[size], fontweight=rc[weight])
    box = text_of.get_window_extent()
    return math.ceil(box.width), math.ceil(box.height)
