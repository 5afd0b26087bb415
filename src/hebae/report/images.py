"""Figures made of images, each pixel of which covers a whole number of the figure's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from hebae.errors import HebaeError
from hebae.report.methods import looks
from hebae.report.panels import GAP, Panel, arrange
from hebae.report.pixels import to_uint8
from hebae.report.style import DPI, styled

__all__ = ["image_grid", "interpolations", "reconstructions", "sample_table", "samples"]


@styled()
def image_grid(images: ArrayLike, columns: int | None = None, *, title: str = "") -> Figure:
    """Draw images as a mosaic, the first at the upper left.

    Parameters
    ----------
    images : array of float, (n, c, h, w)
        In [0, 1]; clipped if not. c = 1, grey, or 3, colour.
    columns : int, optional
        Images in a row; as square as may be if not given.
    title : str

    Raises
    ------
    HebaeError
        If `images` are vectors, have other channels, or values that are not finite.
    """
    return arrange([[Panel(to_uint8(images), columns)]], title)


@styled()
def samples(
    images: Mapping[str, ArrayLike], columns: int | None = None, *, title: str = ""
) -> Figure:
    """Draw the images of each method as a mosaic, the methods side by side.

    Parameters
    ----------
    images : mapping of str to array of float, (n, c, h, w)
        By method; see `image_grid`.
    columns : int, optional
        Images in a row of a mosaic.
    title : str
    """
    look = looks(images)
    panels = [
        Panel(to_uint8(values), columns, heading=look[label].name)
        for label, values in images.items()
    ]
    return arrange([panels], title)


@styled()
def sample_table(
    images: Mapping[str, Mapping[str, ArrayLike]], columns: int | None = None, *, title: str = ""
) -> Figure:
    """Draw mosaics in a table: a row a method, a column a way to sample.

    Parameters
    ----------
    images : mapping of str to (mapping of str to array of float, (n, c, h, w))
        By method, then by way; see `image_grid`.
    columns : int, optional
        Images in a row of a mosaic.
    title : str
    """
    look = looks(images)
    grid = [
        [
            Panel(
                to_uint8(values),
                columns,
                heading="" if row else way,
                label="" if place else look[label].name,
            )
            for place, (way, values) in enumerate(ways.items())
        ]
        for row, (label, ways) in enumerate(images.items())
    ]
    return arrange(grid, title)


@styled()
def reconstructions(
    originals: ArrayLike, images: Mapping[str, ArrayLike], *, title: str = ""
) -> Figure:
    """Draw the originals in a row, and under them each method's reconstructions of them.

    Parameters
    ----------
    originals : array of float, (n, c, h, w)
    images : mapping of str to array of float, (n, c, h, w)
        By method, image i the reconstruction of original i.
    title : str
    """
    pixels = to_uint8(originals)
    panels = [Panel(pixels, len(pixels), label="originals")]
    for label, look in looks(images).items():
        panel = Panel(to_uint8(images[label]), len(pixels), label=look.name)
        if panel.images.shape != pixels.shape:
            raise HebaeError(
                f"the reconstructions of {look.name} are {panel.images.shape} and the originals "
                f"{pixels.shape}; there must be one for each."
            )
        panels.append(panel)
    return arrange([[panel] for panel in panels], title)


@styled()
def interpolations(images: Mapping[str, ArrayLike], *, title: str = "") -> Figure:
    """Draw the ways between pairs of codes, a row each, their ends framed.

    Parameters
    ----------
    images : mapping of str to array of float, (pairs, steps, c, h, w)
        By method: decoded from the codes along each way, both ends included.
    title : str
    """
    look = looks(images)
    panels: list[Panel] = []
    for label, values in images.items():
        array = np.asarray(values)
        if array.ndim != 5 or array.shape[1] < 2:
            raise HebaeError(
                "interpolations need images (pairs, steps, c, h, w) of 2 steps or more; got "
                f"{array.shape} for {look[label].name}."
            )
        steps = array.shape[1]
        pixels = to_uint8(array.reshape(-1, *array.shape[2:]))
        over = {} if panels else {0: "start", steps - 1: "end"}
        panels.append(Panel(pixels, steps, label=look[label].name, over_columns=over))
    figure = arrange([[panel] for panel in panels], title)
    for axes, panel, label in zip(figure.axes, panels, images, strict=True):
        for column in (0, panel.images_across - 1):
            _frame(axes, panel, column, look[label].colour)
    return figure


def _frame(axes: Axes, panel: Panel, column: int, colour: str) -> None:
    """Frame a column of a panel; the line fills the gap and covers no pixel of an image."""
    right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
    pitch = (right + GAP) / panel.images_across
    frame = Rectangle(
        (column * pitch - GAP / 2, -GAP / 2),
        pitch,
        bottom + GAP,
        fill=False,
        edgecolor=colour,
        linewidth=GAP * 72 / DPI,
        joinstyle="miter",
        clip_on=False,
    )
    axes.add_patch(frame)
