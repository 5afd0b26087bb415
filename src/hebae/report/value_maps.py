"""Values over a grid of two settings: a small map a quantity, each value written in its cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from hebae.errors import HebaeError
from hebae.report.style import QUIET, SEQUENTIAL, describe, literal, styled

__all__ = ["ValueMap", "value_maps"]

_MISSING = "#EEEEEE"
_PALE = (0.12, 0.95)  # the part of the scale of colours that letters can be read on


@dataclass(frozen=True)
class ValueMap:
    """One quantity.

    Parameters
    ----------
    values : array of shape (rows, columns)
        NaN where there is none.
    title, note : str
        Above the map; the note in plain letters below its title.
    format : str
        How a value is written.
    better : "higher", "lower" or ""
        The best cell is framed.
    """

    values: ArrayLike
    title: str
    note: str = ""
    format: str = ".3g"
    better: Literal["higher", "lower", ""] = ""


@styled()
def value_maps(
    maps: Sequence[ValueMap],
    rows: Sequence[float],
    columns: Sequence[float],
    *,
    labels: tuple[str, str],
    across: int = 4,
    title: str = "",
) -> Figure:
    """Draw maps over the same grid, the first row of values at the bottom.

    Colours go by rank, from dark, the least, to light: each map has values of its own kind, and
    one that is far off would leave no colours for the others.

    Parameters
    ----------
    maps : sequence of ValueMap
    rows, columns : sequence of float
        The settings of the grid's rows and columns.
    labels : (str, str)
        What rows and columns are.
    across : int
        Maps in a row of the figure.
    title : str

    Raises
    ------
    HebaeError
        If there is no map, or one is not of the grid's shape.
    """
    if not maps:
        raise HebaeError("there is nothing to draw: no map was given.")
    arrays = [np.asarray(one.values, np.float64) for one in maps]
    for one, values in zip(maps, arrays, strict=True):
        if values.shape != (len(rows), len(columns)):
            raise HebaeError(
                f"the map {one.title} has values of shape {values.shape}, and the grid is "
                f"{len(rows)} x {len(columns)}."
            )
    across = min(across, len(maps))
    down = math.ceil(len(maps) / across)
    figure = Figure(
        figsize=(across * (0.5 * len(columns) + 0.85), down * (0.3 * len(rows) + 0.85) + 0.4),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
    )
    grid = figure.subplots(down, across, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(maps):
            axes.set_axis_off()
            continue
        _draw(axes, maps[place], arrays[place])
        axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
        axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
        last = place + across >= len(maps)
        axes.set(xlabel=labels[1] if last else "", ylabel="" if place % across else labels[0])
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", wrap=True)
    return figure


def _draw(axes: Axes, one: ValueMap, values: NDArray[np.float64]) -> None:
    shades = _ranks(values)
    colours = colormaps[SEQUENTIAL].with_extremes(bad=_MISSING)
    axes.imshow(
        np.ma.masked_invalid(shades), cmap=colours, vmin=0, vmax=1, origin="lower", aspect="auto"
    )
    for (row, column), value in np.ndenumerate(values):
        known = math.isfinite(value)
        dark = known and shades[row, column] < 0.55
        axes.text(
            column,
            row,
            literal(format(value, one.format)) if known else "–",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black" if known else QUIET,
        )
    if one.better and np.isfinite(values).any():
        pick = np.nanargmax if one.better == "higher" else np.nanargmin
        row, column = np.unravel_index(pick(values), values.shape)
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                fill=False,
                edgecolor="#D55E00",
                linewidth=2,
                clip_on=False,
            )
        )
    describe(axes, one.title, one.note)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each value where on the scale of colours its rank lies; equal values alike."""
    known = np.unique(values[np.isfinite(values)])
    low, high = _PALE
    shades = np.full(values.shape, np.nan)
    inside = np.isfinite(values)
    position = np.searchsorted(known, values[inside]) / max(1, len(known) - 1)
    shades[inside] = low + (high - low) * position
    return shades
