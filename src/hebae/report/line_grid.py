"""Rows of small panels of lines, as papers have them: a panel a case, a line a method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hebae.errors import HebaeError
from hebae.report.methods import Look, looks
from hebae.report.style import QUIET, describe, literal, styled

__all__ = ["LinePanel", "Scale", "line_grid"]

_BAND = 0.16  # how opaque
_MARKERS = 12  # of a line at most
# Multiples of a power of ten that a logarithmic axis names, by the range, greatest over least.
_LABELLED = {8: (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), 100: (1.0, 2.0, 5.0)}

Scale = Literal["linear", "log", "negative log"]
"""Of an axis; "negative log": of values below 0, the greater at the top."""


@dataclass(frozen=True)
class LinePanel:
    """What one panel shows.

    Parameters
    ----------
    lines : mapping of str to (mapping of float to sequence of float)
        By label, then by x: the values of the seeds, of which the median is drawn, in a band from
        the least to the greatest. A value that is not finite is left out; an x without any breaks
        no line.
    title, note : str
        Above the panel; the note in plain letters below its title.
    x_label, y_label : str
    x_scale, y_scale : Scale
    mark : float, optional
        An x that is set off by a vertical line.
    """

    lines: Mapping[str, Mapping[float, Sequence[float]]]
    title: str = ""
    note: str = ""
    x_label: str = ""
    y_label: str = ""
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    mark: float | None = None


@styled()
def line_grid(rows: Sequence[Sequence[LinePanel]], *, title: str = "") -> Figure:
    """Draw rows of panels; those of a row share the scale of their values.

    Parameters
    ----------
    rows : sequence of sequence of LinePanel
        All rows of one length.
    title : str

    Raises
    ------
    HebaeError
        If there is no panel, the rows differ in length, no panel has a value, or one on a
        logarithmic axis has the wrong sign.
    """
    columns = {len(row) for row in rows}
    if len(columns) != 1 or columns == {0}:
        raise HebaeError("a grid of panels needs rows of one length, with a panel or more.")
    labels = dict.fromkeys(label for row in rows for panel in row for label in panel.lines)
    look = looks(labels)
    if not any(_finite(panel, label) for row in rows for panel in row for label in panel.lines):
        raise HebaeError("there is nothing to draw: no panel has a finite value.")
    (across,) = columns
    figure = Figure(
        figsize=(max(2.3 * across + 0.7, 5.0), 1.75 * len(rows) + 0.6),
        layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.07),
    )
    grid = figure.subplots(len(rows), across, squeeze=False)
    several = False
    for row, panels in enumerate(rows):
        for column, panel in enumerate(panels):
            axes = grid[row, column]
            several |= _draw(axes, panel, look)
            describe(axes, panel.title, panel.note)
            axes.set(xlabel=panel.x_label, ylabel=panel.y_label if column == 0 else "")
        _share_values(grid[row], panels)
    _add_legend(figure, look, several)
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", wrap=True)
    return figure


def _finite(panel: LinePanel, label: str) -> dict[float, list[float]]:
    """Return the finite values of a line by x, in order, with the sign that they are drawn with."""
    sign = -1 if panel.y_scale == "negative log" else 1
    found = {
        x: [sign * value for value in panel.lines[label][x] if math.isfinite(value)]
        for x in sorted(panel.lines[label])
    }
    if panel.y_scale != "linear" and any(value <= 0 for kept in found.values() for value in kept):
        side = "below" if sign < 0 else "above"
        raise HebaeError(f"{label} has values that are not {side} 0, on a logarithmic axis.")
    return {x: values for x, values in found.items() if values}


def _draw(axes: Axes, panel: LinePanel, look: Mapping[str, Look]) -> bool:
    """Draw a panel; whether a line of it has several seeds."""
    several = False
    for label in panel.lines:
        values = _finite(panel, label)
        at = list(values)
        axes.plot(
            at,
            [statistics.median(of_seeds) for of_seeds in values.values()],
            color=look[label].colour,
            marker=look[label].marker,
            markevery=max(1, math.ceil(len(at) / _MARKERS)),
            markersize=3.5,
            linewidth=1.3,
        )
        if any(len(of_seeds) > 1 for of_seeds in values.values()):
            several = True
            axes.fill_between(
                at,
                [min(of_seeds) for of_seeds in values.values()],
                [max(of_seeds) for of_seeds in values.values()],
                color=look[label].colour,
                alpha=_BAND,
                linewidth=0,
            )
    if panel.mark is not None:
        axes.axvline(panel.mark, color=QUIET, linewidth=0.7, linestyle=(0, (2, 2)), zorder=0.5)
    if panel.x_scale == "log":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        )
    return several


def _share_values(row: Sequence[Axes], panels: Sequence[LinePanel]) -> None:
    """Give the panels of a row one range of values, told at the first alone."""
    for axes, panel in zip(row, panels, strict=True):
        if panel.y_scale != "linear":
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
    drawn = [
        axes
        for axes, panel in zip(row, panels, strict=True)
        if any(_finite(panel, label) for label in panel.lines)
    ]
    limits = [axes.get_ylim() for axes in drawn] or [row[0].get_ylim()]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    for place, (axes, panel) in enumerate(zip(row, panels, strict=True)):
        if panel.y_scale != "linear":
            # Powers of ten alone would give a narrow range one labelled tick, or none.
            subs = next((s for most, s in _LABELLED.items() if high < most * low), (1.0,))
            axes.yaxis.set_major_locator(LogLocator(subs=subs))
            minus = "\N{MINUS SIGN}" if panel.y_scale == "negative log" else ""
            axes.yaxis.set_major_formatter(
                FuncFormatter(lambda value, _, minus=minus: f"{minus}{value:,.10g}")
            )
        down = panel.y_scale == "negative log"
        axes.set_ylim(*((high, low) if down else (low, high)))
        axes.tick_params(labelleft=place == 0)


def _add_legend(figure: Figure, look: Mapping[str, Look], several: bool) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=one.colour, marker=one.marker, label=literal(one.name))
        for one in look.values()
    ]
    if several:
        handles.append(Patch(color=QUIET, alpha=_BAND, linewidth=0, label="range over seeds"))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
