"""Mosaics set out on a figure to the pixel: an image's pixel is a square of the figure's.

Layout by hand, since matplotlib's own gives axes sizes that are no whole multiple of an image's.
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
from numpy.typing import NDArray

from hebae.errors import HebaeError
from hebae.report.pixels import images_across, mosaic
from hebae.report.style import DPI, literal

__all__ = ["GAP", "Panel", "arrange"]

# In pixels of the figure.
GAP = 2  # between images
_WIDTH = 1400  # not exceeded by the images of a row, unless they are wider at their own size
_LARGEST = 112  # no image is blown up beyond this
_SPACE = 14  # between panels, and around the figure
_LABEL_LETTERS = 14  # after which a label at the left goes on in a new line
_LETTER = 13  # a letter of a heading, on average


@dataclass(frozen=True)
class Panel:
    """A mosaic with words around it.

    Parameters
    ----------
    images : array of uint8, (n, c, h, w)
    columns : int, optional
        Images in a row; as square as may be if not given.
    heading, label : str
        What stands above it, and at its left.
    over_columns : mapping of int to str
        Small headings of single columns; in place of `heading`.
    """

    images: NDArray[np.uint8]
    columns: int | None = None
    heading: str = ""
    label: str = ""
    over_columns: Mapping[int, str] = field(default_factory=dict)

    @property
    def images_across(self) -> int:
        """Images in a row."""
        return images_across(len(self.images), self.columns)


def arrange(grid: Sequence[Sequence[Panel]], title: str = "") -> Figure:
    """Draw rows of panels, all images enlarged by the same whole number, in the current style."""
    panels = [panel for row in grid for panel in row]
    if not panels:
        raise HebaeError("there is nothing to draw: no method was given.")
    scale = _scale(grid)
    rows = [[_Drawn(panel, scale) for panel in row] for row in grid]
    label_width = max(_size(drawn.label)[0] for row in rows for drawn in row)
    left = _SPACE + (label_width + _SPACE // 2 if label_width else 0)
    title_width, title_height = _size(title, "figure.titlesize")
    top = _SPACE + (title_height + _SPACE if title else 0)

    across = max(sum(drawn.width + _SPACE for drawn in row) for row in rows)
    width = max(left + across, title_width + 2 * _SPACE)
    height = top + sum(
        max(d.head for d in row) + max(d.pixels.shape[0] for d in row) + _SPACE for row in rows
    )
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    if title:
        figure.suptitle(literal(title), x=_SPACE / width, y=1 - _SPACE / height, ha="left")
    for row in rows:
        top += max(drawn.head for drawn in row)
        x = left
        for drawn in row:
            h, w = drawn.pixels.shape[:2]
            box = (x / width, 1 - (top + h) / height, w / width, h / height)
            drawn.onto(figure.add_axes(box))
            x += drawn.width + _SPACE
        top += max(drawn.pixels.shape[0] for drawn in row) + _SPACE
    return figure


class _Drawn:
    """A panel's pixels, and the room that its words take."""

    def __init__(self, panel: Panel, scale: int) -> None:
        self.panel = panel
        self.pixels = mosaic(panel.images, panel.columns, gap=GAP, scale=scale)
        self.label = textwrap.fill(panel.label, _LABEL_LETTERS)
        letters = max(_LABEL_LETTERS, self.pixels.shape[1] // _LETTER)
        self.heading = textwrap.fill(panel.heading, letters)
        heading_width, heading_height = _size(self.heading, "axes.titlesize", "axes.titleweight")
        self.width = max(self.pixels.shape[1], heading_width)
        over = [_size(text, "xtick.labelsize")[1] for text in panel.over_columns.values()]
        self.head = max([heading_height, *over])
        self.head += _SPACE // 2 if self.head else 0

    def onto(self, axes: Axes) -> None:
        """Draw on `axes`, which are as large as the pixels."""
        h, w, c = self.pixels.shape
        colours = self.pixels.repeat(3, axis=2) if c == 1 else self.pixels
        # Coordinates count pixels from the upper left corner.
        axes.imshow(colours, extent=(0, w, h, 0), aspect="auto", interpolation="nearest")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        pitch = (w + GAP) / self.panel.images_across
        centres = [column * pitch + (pitch - GAP) / 2 for column in self.panel.over_columns]
        axes.set_xticks(centres, [literal(text) for text in self.panel.over_columns.values()])
        axes.set_yticks([])
        axes.tick_params(length=0, labeltop=True, labelbottom=False, pad=2)
        axes.set_title(literal(self.heading), pad=4)
        axes.set_ylabel(
            literal(self.label), rotation="horizontal", ha="right", va="center", labelpad=3
        )


def _scale(grid: Sequence[Sequence[Panel]]) -> int:
    across: int = max(sum(p.images_across * p.images.shape[3] for p in row) for row in grid)
    side: int = max(max(p.images.shape[2:]) for row in grid for p in row)
    return max(1, min(_WIDTH // across, _LARGEST // side))


def _size(text: str, size: str = "axes.labelsize", weight: str = "font.weight") -> tuple[int, int]:
    """Width and height of `text` in pixels, its font named by two of matplotlib's settings."""
    if not text:
        return 0, 0
    scratch = Figure(dpi=DPI)
    FigureCanvasAgg(scratch)
    rc: Any = mpl.rcParams
    drawn = scratch.text(0, 0, literal(text), fontsize=rc[size], fontweight=rc[weight])
    box = drawn.get_window_extent()
    return math.ceil(box.width), math.ceil(box.height)
