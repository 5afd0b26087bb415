"""Values over a grid of two settings: one small map per quantity, with the values written in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from hebae.errors import HebaeError
from hebae.report.style import QUIET, SEQUENTIAL, describe, literal, new_figure, styled

_MISSING = "#EEEEEE"
_SHADES = (0.12, 0.95)  # the part of the colour scale on which text is legible


@dataclass(frozen=True)
class ValueMap:
    """One quantity."""

    values: ArrayLike
    """Of shape (rows, columns); NaN where there is none."""
    title: str
    note: str = ""
    format: str = ".3g"
    better: Literal["higher", "lower", ""] = ""
    """The best cell is framed."""


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
    """Draw maps over the same grid, `across` per row of the figure.

    `labels` name the settings whose values are the grid's `rows` (the first at the bottom) and
    `columns`. Colours show ranks, dark for the smallest value: the maps have different units, and
    one outlier would leave no colours for the other values.
    """
    across = min(across, len(maps)) or 1
    down = math.ceil(len(maps) / across)
    width, height = across * (0.5 * len(columns) + 0.85), down * (0.3 * len(rows) + 0.85) + 0.4
    figure = new_figure(width, height, maps, title, what="map")
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(maps) :]:
        axes.set_axis_off()
    for place, (axes, one) in enumerate(zip(grid.flat, maps, strict=False)):
        values = np.asarray(one.values, np.float64)
        if values.shape != (len(rows), len(columns)):
            raise HebaeError(
                f"The map {one.title} has values of shape {values.shape}, but the grid is "
                f"{len(rows)} x {len(columns)}."
            )
        _draw(axes, one, values)
        axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
        axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
        is_lowest = place + across >= len(maps)
        axes.set(xlabel=labels[1] if is_lowest else "", ylabel="" if place % across else labels[0])
    return figure


def _draw(axes: Axes, one: ValueMap, values: NDArray[np.float64]) -> None:
    known = np.isfinite(values)
    shades = np.full(values.shape, np.nan)
    ordered = np.unique(values[known])
    rank = np.searchsorted(ordered, values[known]) / max(1, len(ordered) - 1)
    shades[known] = _SHADES[0] + (_SHADES[1] - _SHADES[0]) * rank
    colours = colormaps[SEQUENTIAL].with_extremes(bad=_MISSING)
    axes.imshow(
        np.ma.masked_invalid(shades), cmap=colours, vmin=0, vmax=1, origin="lower", aspect="auto"
    )
    for (row, column), value in np.ndenumerate(values):
        text, colour = "–", QUIET
        if known[row, column]:
            text = literal(format(value, one.format))
            colour = "white" if shades[row, column] < 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    if one.better and known.any():
        pick = np.nanargmax if one.better == "higher" else np.nanargmin
        row, column = np.unravel_index(pick(np.where(known, values, np.nan)), values.shape)
        frame = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, clip_on=False)
        frame.set(edgecolor="#D55E00", linewidth=2)
        axes.add_patch(frame)
    describe(axes, one.title, one.note)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
