"""Panels of single numbers: bars by method, and maps over a grid of two settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from hebae.report.methods import looks
from hebae.report.style import INK, QUIET, SEQUENTIAL, describe, literal, new_figure, styled

_HALF = 0.32  # of a bar's width
_DASHED = (0, (4, 2))
_MISSING = "#EEEEEE"
_SHADES = (0.12, 0.95)  # the part of the colour scale on which text is legible


@dataclass(frozen=True)
class BarPanel:
    """One coefficient, by label."""

    values: Mapping[str, float]
    nulls: Mapping[str, float]
    """The values that chance alone gives; left out where that is 0 by definition."""
    title: str
    note: str = ""
    y_label: str = ""
    ceiling: float | None = None
    """The largest possible value."""


@styled()
def bars_beside_null(panels: Mapping[str, BarPanel], *, title: str = "") -> Figure:
    """Draw one panel per coefficient, side by side; a HebaeError if one has no values."""
    drawn = panels if all(panel.values for panel in panels.values()) else ()
    figure = new_figure(2.5 * len(panels) + 0.4, 2.9, drawn, title, what="value")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(grid, panels.values(), strict=True):
        look = looks(panel.values)
        for place, (label, value) in enumerate(panel.values.items()):
            axes.bar(place, value, 2 * _HALF, color=look[label].colour)
            at = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"{value:.3g}", (place, value), fontsize=7.5, **at)
            if label in panel.nulls:
                ends = panel.nulls[label], place - _HALF, place + _HALF
                axes.hlines(*ends, color="white", linewidth=2.6)
                axes.hlines(*ends, color=INK, linewidth=1.2)
        if panel.ceiling is not None:
            axes.axhline(panel.ceiling, color=QUIET, linewidth=0.8, linestyle=_DASHED)
        axes.set_xticks(range(len(look)), [literal(one.name) for one in look.values()])
        axes.set_ylim(0, 1.15 * max(*panel.values.values(), panel.ceiling or 0, 1e-12))
        axes.set_ylabel(panel.y_label)
        axes.grid(visible=False, axis="x")
        describe(axes, panel.title, panel.note)
    handles = []
    if any(panel.nulls for panel in panels.values()):
        handles.append(Line2D([], [], color=INK, linewidth=1.2, label="permuted indices"))
    if any(panel.ceiling is not None for panel in panels.values()):
        most = Line2D([], [], color=QUIET, linestyle=_DASHED, linewidth=0.8, label="maximum")
        handles.append(most)
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    return figure


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
    across: int,
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
        _draw(axes, one, np.asarray(one.values, np.float64))
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
