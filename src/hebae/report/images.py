"""Figures of images, in which each pixel of an image is a square of whole pixels.

The layout is computed here, since matplotlib's own gives axes whose size is not a multiple of an
image's.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from hebae.errors import HebaeError
from hebae.report.methods import display_name, looks
from hebae.report.pixels import GAP, images_across, mosaic, to_uint8
from hebae.report.style import DPI, literal, styled

# In pixels of the figure.
_WIDTH = 2700  # of the images of a row at most, unless they are wider unenlarged
_LARGEST = 112  # side of an image at most
_SPACE = 14  # between panels, and around the figure
_LABEL_LETTERS = 14  # of a label at the left, per line
_LETTER = 13  # average letter of a heading
_TEXT_GROWS_FROM = 1200  # width from which text is larger, since wide figures are shown smaller


@styled()
def sample_table(
    images: Mapping[str, Mapping[str, ArrayLike]],
    columns: int | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw a table of mosaics: one row per method, one column per sampler (or the other way round).

    `images` gives, by method and then by sampler (the same ones for each method), arrays
    (n, c, h, w) of values in [0, 1], clipped otherwise; c is 1 (grey) or 3 (colour). A mosaic has
    `columns` images per row; by default it is as square as possible.
    """
    grid: list[list[_Panel]] = []
    for left, by_column in images.items():
        row: list[_Panel] = []
        for above, values in by_column.items():
            pixels = to_uint8(values)
            heading = "" if grid else display_name(above)
            label = "" if row else display_name(left)
            row.append(_Panel(pixels, images_across(len(pixels), columns), heading, label))
        grid.append(row)
    return _arrange(grid, title)


@styled()
def reconstructions(
    originals: ArrayLike, images: Mapping[str, ArrayLike], *, title: str = ""
) -> Figure:
    """Draw a row of originals (n, c, h, w), and below it one row of reconstructions per method."""
    pixels = to_uint8(originals)
    panels = [_Panel(pixels, len(pixels), label="originals")]
    for label, look in looks(images).items():
        panels.append(_Panel(to_uint8(images[label]), len(pixels), label=look.name))
    return _arrange([[panel] for panel in panels], title)


@styled()
def interpolations(images: Mapping[str, ArrayLike], *, title: str = "") -> Figure:
    """Draw one row per interpolation between two codes, with both ends framed and named.

    `images` gives, by method, an array (pairs, steps, c, h, w): decoded codes along each line, both
    ends included.
    """
    panels: list[_Panel] = []
    for label, look in looks(images).items():
        array = np.asarray(images[label])
        pixels = to_uint8(array.reshape(-1, *array.shape[2:]))
        panels.append(_Panel(pixels, array.shape[1], label=look.name, frame=look.colour))
    return _arrange([[panel] for panel in panels], title)


@dataclass
class _Panel:
    """A mosaic with text around it, and the room that both need once they are `enlarged`."""

    images: NDArray[np.uint8]
    columns: int
    heading: str = ""
    label: str = ""
    frame: str = ""
    """Colour of frames around the first and the last column, the ends of interpolations."""

    @property
    def ends(self) -> Sequence[str]:
        return ("first example", "second example") if self.frame else ()

    def enlarge(self, scale: int) -> None:
        pixels = mosaic(self.images, self.columns, scale=scale)
        self.pixels = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
        self.height, self.image_width = pixels.shape[:2]
        self.label = textwrap.fill(self.label, _LABEL_LETTERS)
        letter = _LETTER * mpl.rcParams["font.size"] / 8.5
        letters = max(_LABEL_LETTERS, int(self.image_width / letter))
        self.heading = textwrap.fill(self.heading, letters)
        above = [_size(self.heading, "axes.titlesize", "axes.titleweight")]
        over = [_size(text, "xtick.labelsize") for text in self.ends]
        self.width = max(self.image_width, above[0][0], sum(w + _SPACE for w, _ in over))
        head = max(h for _, h in above + over)
        self.head = head + _SPACE // 2 if head else 0

    def draw_on(self, axes: Axes) -> None:
        """Draw on `axes`, which are as large as the pixels."""
        # Coordinates count pixels from the upper left corner.
        extent = (0, self.image_width, self.height, 0)
        axes.imshow(self.pixels, extent=extent, aspect="auto", interpolation="nearest")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set(xticks=[], yticks=[])
        axes.set_title(literal(self.heading), pad=4)
        axes.set_ylabel(
            literal(self.label), rotation="horizontal", ha="right", va="center", labelpad=3
        )
        right = max(self.image_width, self.width - _SPACE)
        for text, x, side in zip(self.ends, (0, right), ("left", "right"), strict=False):
            place: dict[str, Any] = {"textcoords": "offset points", "ha": side, "va": "bottom"}
            size = mpl.rcParams["xtick.labelsize"]
            axes.annotate(literal(text), (x, 0), (0, 2), fontsize=size, **place)
        pitch = (self.image_width + GAP) / self.columns
        for column in (0, self.columns - 1) if self.frame else ():
            # The frame's line fills the gap and covers no pixel of an image.
            corner = (column * pitch - GAP / 2, -GAP / 2)
            frame = Rectangle(corner, pitch, self.height + GAP, fill=False, clip_on=False)
            frame.set(edgecolor=self.frame, linewidth=GAP * 72 / DPI, joinstyle="miter")
            axes.add_patch(frame)


def _arrange(grid: Sequence[Sequence[_Panel]], title: str = "") -> Figure:
    """Draw rows of panels, all images enlarged by the same whole number."""
    panels = [panel for row in grid for panel in row]
    if not panels:
        raise HebaeError("There is nothing to draw: no method was given.")
    across: int = max(sum(p.columns * p.images.shape[3] for p in row) for row in grid)
    side: int = max(max(p.images.shape[2:]) for p in panels)
    scale = max(1, min(_WIDTH // across, _LARGEST // side))
    growth = max(1.0, across * scale / _TEXT_GROWS_FROM)
    for size in ("font.size", "figure.titlesize", "axes.titlesize", "xtick.labelsize"):
        mpl.rcParams[size] *= growth  # until `styled` restores it
    for panel in panels:
        panel.enlarge(scale)
    label_width = max(_size(panel.label)[0] for panel in panels)
    left = _SPACE + (label_width + _SPACE // 2 if label_width else 0)
    title_width, title_height = _size(title, "figure.titlesize")
    top = _SPACE + (title_height + _SPACE if title else 0)

    width = left + max(sum(panel.width + _SPACE for panel in row) for row in grid)
    width = max(width, title_width + 2 * _SPACE)
    heights = [(max(p.head for p in row), max(p.height for p in row)) for row in grid]
    height = top + sum(head + images + _SPACE for head, images in heights)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    if title:
        figure.suptitle(literal(title), x=_SPACE / width, y=1 - _SPACE / height, ha="left")
    for row, (head, images) in zip(grid, heights, strict=True):
        x, top = left, top + head
        for panel in row:
            w, h = panel.image_width, panel.height
            box = (x / width, 1 - (top + h) / height, w / width, h / height)
            panel.draw_on(figure.add_axes(box))
            x += panel.width + _SPACE
        top += images + _SPACE
    return figure


def _size(text: str, size: str = "axes.labelsize", weight: str = "font.weight") -> tuple[int, int]:
    """Return width and height of `text` in pixels, for a font named by two rcParams."""
    if not text:
        return 0, 0
    scratch = Figure(dpi=DPI)
    FigureCanvasAgg(scratch)
    rc: Any = mpl.rcParams
    drawn = scratch.text(0, 0, literal(text), fontsize=rc[size], fontweight=rc[weight])
    box = drawn.get_window_extent()
    return math.ceil(box.width), math.ceil(box.height)
