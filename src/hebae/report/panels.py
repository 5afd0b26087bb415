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
from hebae.report.pixels import mosaic
from hebae.report.style import DPI, literal

__all__ = ["GAP", "Panel", "arrange"]

# In pixels of the figure.
GAP = 2  # between images
_WIDTH = 1200  # aimed at: 8 inches
_LARGEST = 112  # no image is blown up beyond this
_SPACE = 14  # between panels, and around the figure
_LETTERS = 14  # where a label at the left goes on in a new line


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
        n = len(self.images)
        return min(self.columns or math.ceil(math.sqrt(n)), n)


def arrange(grid: Sequence[Sequence[Panel]], title: str = "") -> Figure:
    """Draw rows of panels, all images enlarged by the same whole number, in the current style."""
    panels = [panel for row in grid for panel in row]
    if not panels:
        raise HebaeError("there is nothing to draw: no method was given.")
    scale = _scale(grid)
    drawn = [[mosaic(p.images, p.columns, gap=GAP, scale=scale) for p in row] for row in grid]
    labels = [_folded(panel.label) for panel in panels]
    label_width = max(_size(label)[0] for label in labels)
    left = _SPACE + (label_width + _SPACE // 2 if label_width else 0)
    title_size = mpl.rcParams["figure.titlesize"]
    title_width, title_height = _size(title, fontsize=title_size)
    heads = [max(_head_height(panel) for panel in row) for row in grid]
    widths = [
        [max(pixels.shape[1], _heading_width(p)) for p, pixels in zip(row, line, strict=True)]
        for row, line in zip(grid, drawn, strict=True)
    ]
    tallest = [max(pixels.shape[0] for pixels in line) for line in drawn]

    top = _SPACE + (title_height + _SPACE if title else 0)
    across = max(sum(row) + _SPACE * (len(row) - 1) for row in widths)
    width = max(left + across, _SPACE + title_width) + _SPACE
    height = top + sum(heads) + sum(tallest) + _SPACE * len(grid)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    if title:
        figure.suptitle(
            literal(title), x=_SPACE / width, y=1 - _SPACE / height, ha="left", va="top"
        )
    for r, row in enumerate(grid):
        top += heads[r]
        x = left
        for panel, pixels, taken in zip(row, drawn[r], widths[r], strict=True):
            h, w = pixels.shape[:2]
            box = (x / width, 1 - (top + h) / height, w / width, h / height)
            _draw(figure.add_axes(box), panel, pixels)
            x += taken + _SPACE
        top += tallest[r] + _SPACE
    return figure


def _draw(axes: Axes, panel: Panel, pixels: NDArray[np.uint8]) -> None:
    h, w, c = pixels.shape
    colours = pixels.repeat(3, axis=2) if c == 1 else pixels
    # Coordinates count pixels from the upper left corner.
    axes.imshow(colours, extent=(0, w, h, 0), aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, top=False, labeltop=True, labelbottom=False, pad=2)
    pitch = (w + GAP) / panel.images_across
    centres = [column * pitch + (pitch - GAP) / 2 for column in panel.over_columns]
    axes.set_xticks(centres, [literal(text) for text in panel.over_columns.values()])
    axes.set_yticks([])
    axes.set_title(literal(panel.heading), loc="left", pad=4)
    axes.set_ylabel(
        literal(_folded(panel.label)), rotation="horizontal", ha="right", va="center", labelpad=3
    )


def _scale(grid: Sequence[Sequence[Panel]]) -> int:
    across: int = max(sum(p.images_across * p.images.shape[3] for p in row) for row in grid)
    side: int = max(max(p.images.shape[2:]) for row in grid for p in row)
    return max(1, min(_WIDTH // across, _LARGEST // side))


def _head_height(panel: Panel) -> int:
    if panel.heading:
        return _heading_size(panel)[1] + _SPACE // 2
    return max((_size(text)[1] + GAP for text in panel.over_columns.values()), default=0)


def _heading_width(panel: Panel) -> int:
    return _heading_size(panel)[0]


def _heading_size(panel: Panel) -> tuple[int, int]:
    rc = mpl.rcParams
    return _size(panel.heading, fontsize=rc["axes.titlesize"], fontweight=rc["axes.titleweight"])


def _folded(label: str) -> str:
    return textwrap.fill(label, _LETTERS)


def _size(text: str, **font: Any) -> tuple[int, int]:
    """Width and height of `text` in pixels."""
    if not text:
        return 0, 0
    scratch = Figure(dpi=DPI)
    FigureCanvasAgg(scratch)
    box = scratch.text(0, 0, literal(text), **font).get_window_extent()
    return math.ceil(box.width), math.ceil(box.height)
