"""Numbers of many rows side by side: one panel per quantity, one line per row."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from hebae.report.methods import looks
from hebae.report.style import QUIET, add_legend, describe, literal, new_figure, styled

_ROW = 0.24  # inches
_FAR = 12.0  # greatest over least value from which an axis is logarithmic
_OUTLIER = 20.0  # interquartile ranges beyond the quartiles


@dataclass(frozen=True)
class RowLabel:
    """A row: its text, and the method (or other name) whose look it has."""

    text: str
    method: str


@dataclass(frozen=True)
class RangePanel:
    """One quantity.

    Parameters
    ----------
    values : sequence of sequences of float
        For each row, one number per seed; none where the quantity is undefined.
    title, note : str
    better : {"higher", "lower", ""}
        The row with the best median is marked.
    mark : float, optional
        A value to mark with a vertical line, such as a target.
    """

    values: Sequence[Sequence[float]]
    title: str
    note: str = ""
    better: str = ""
    mark: float | None = None


@styled()
def range_panels(
    rows: Sequence[RowLabel],
    panels: Sequence[RangePanel],
    *,
    breaks: Sequence[int] = (),
    apart: bool = False,
    title: str = "",
) -> Figure:
    """Draw the median of each row, in a line from the smallest to the largest value over seeds.

    A hollow marker is the best median of its panel. `breaks` are the rows above which to draw a
    line between groups; with `apart`, groups are not comparable, and each has a best median. A
    HebaeError is raised if there is nothing to draw. A median that is so far from the others that
    these could not be told apart is not drawn; its value stands at the edge.
    """
    height = max(2.4, _ROW * len(rows) + 1.3)
    figure = new_figure(1.9 + 1.75 * len(panels), height, rows, title, what="row", w_pad=0.04)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    look = looks(dict.fromkeys(row.method for row in rows))
    places = np.arange(len(rows))
    ends = [0, *(breaks if apart else ()), len(rows)]
    for axes, panel in zip(grid, panels, strict=True):
        finite = [[v for v in values if math.isfinite(v)] for values in panel.values]
        medians = [statistics.median(values) if values else None for values in finite]
        known = [m for m in medians if m is not None]
        best = {
            end: (max if panel.better == "higher" else min)(group)
            for begin, end in pairwise(ends)
            if panel.better and (group := [m for m in medians[begin:end] if m is not None])
        }
        for place, row, values, middle in zip(places, rows, finite, medians, strict=True):
            if middle is None:
                continue
            best_of_group = best.get(next(end for end in ends[1:] if place < end))
            style = {"color": look[row.method].colour, "marker": look[row.method].marker}
            axes.plot([min(values), max(values)], [place] * 2, color=style["color"], linewidth=2.2)
            face = "white" if middle == best_of_group else style["color"]
            axes.plot([middle], [place], markerfacecolor=face, markersize=5.5, **style)
        if known and min(known) > 0 and max(known) > _FAR * min(known):
            _scale_to_logarithm(axes, math.log10(max(known) / min(known)))
        else:
            axes.locator_params(axis="x", nbins=4)
            _leave_out_outliers(axes, medians, finite)
        if panel.mark is not None:
            axes.axvline(panel.mark, color=QUIET, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0.5)
        for row_break in breaks:
            axes.axhline(row_break - 0.5, color=QUIET, linewidth=0.5, alpha=0.5)
        axes.grid(visible=True, axis="x", alpha=0.25)
        arrow = {"higher": " →", "lower": " ←"}.get(panel.better, "")
        describe(axes, panel.title + arrow, panel.note)
    grid[0].set_yticks(places, [literal(row.text) for row in rows])
    grid[0].set_ylim(len(rows) - 0.5, -0.5)
    several = any(len(values) > 1 for panel in panels for values in panel.values)
    hollow = Line2D(
        [], [], color=QUIET, marker="o", markerfacecolor="white", linestyle="", label="best median"
    )
    line = Line2D([], [], color=QUIET, linewidth=2.2, label="range over seeds")
    add_legend(figure, look.values(), hollow, *([line] if several else []))
    return figure


def _scale_to_logarithm(axes: Axes, decades: float) -> None:
    """Scale a narrow panel to the logarithm, with labels that have room."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if decades < 2 else (1.0,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _leave_out_outliers(
    axes: Axes, medians: Sequence[float | None], values: Sequence[Sequence[float]]
) -> None:
    """Limit a panel to the rows that are near each other, and write the values of the others."""
    known = [m for m in medians if m is not None]
    if len(known) < 2:
        return
    lower, _, upper = statistics.quantiles(known, n=4, method="inclusive")
    reach = _OUTLIER * (upper - lower)
    far = {
        place: middle
        for place, middle in enumerate(medians)
        if middle is not None and not lower - reach <= middle <= upper + reach
    }
    if not far or reach == 0:
        return
    near = [v for place, row in enumerate(values) if place not in far for v in row]
    margin = 0.1 * (max(near) - min(near))
    axes.set_xlim(min(near) - margin, max(near) + margin)
    for place, middle in far.items():
        right = middle > upper
        number = f"{middle:,.0f}".replace("-", "\N{MINUS SIGN}")
        axes.annotate(
            f"{number} →" if right else f"← {number}",
            (float(right), place),
            xycoords=("axes fraction", "data"),
            xytext=(-3 if right else 3, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            fontsize="small",
            color=QUIET,
        )
