"""Grids of small line plots: one panel per case, one line per method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from hebae.errors import HebaeError
from hebae.report.methods import Look, looks
from hebae.report.style import (
    BAND,
    QUIET,
    add_legend,
    add_title,
    describe,
    literal,
    new_figure,
    seed_range,
    styled,
    whole_numbers,
)

_MARKERS = 12  # per line at most
# Multiples of a power of ten that a logarithmic axis labels, by its range (greatest / least).
_LABELLED = {8: (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), 100: (1.0, 2.0, 5.0)}

Scale = Literal["linear", "log", "negative log"]
"""Scale of an axis; "negative log" is for negative values, the greatest at the top."""


@dataclass(frozen=True)
class LinePanel:
    """The content of one panel.

    Parameters
    ----------
    lines : mapping of str to (mapping of float to sequence of float)
        By label, then by x: the values over seeds. The line is their median, in a band from the
        smallest to the largest. Values that are not finite are left out.
    title, note : str
        Above the panel; the note in smaller letters below the title.
    x_label, y_label : str
    x_scale, y_scale : Scale
    mark : float, optional
        An x to mark with a vertical line.
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
    """Draw rows of panels; the panels of a row share their y axis.

    Parameters
    ----------
    rows : sequence of sequence of LinePanel
        All rows of one length.
    title : str

    Raises
    ------
    HebaeError
        If there is no panel, the rows differ in length, no panel has a value, or a value has the
        wrong sign for a logarithmic axis.
    """
    columns = {len(row) for row in rows}
    if len(columns) != 1 or columns == {0}:
        raise HebaeError(
            f"The rows of a grid have {[len(row) for row in rows]} panels: give rows of one "
            "length, with at least one panel."
        )
    (across,) = columns
    look = looks(dict.fromkeys(label for row in rows for panel in row for label in panel.lines))
    values = [[_finite_values(panel) for panel in row] for row in rows]
    drawn = [line for row in values for lines in row for line in lines.values() if line]
    figure = new_figure(
        max(2.3 * across + 0.7, 5.0), 1.75 * len(rows) + 0.6, drawn, "finite value", w_pad=0.05
    )
    grid = figure.subplots(len(rows), across, squeeze=False)
    for axes_of_row, panels, lines_of_row in zip(grid, rows, values, strict=True):
        for column, (axes, panel, lines) in enumerate(
            zip(axes_of_row, panels, lines_of_row, strict=True)
        ):
            _draw(axes, panel, lines, look)
            describe(axes, panel.title, panel.note)
            axes.set(xlabel=panel.x_label, ylabel=panel.y_label if column == 0 else "")
        _share_y_axis(axes_of_row, panels, lines_of_row)
    handles: list[Any] = [
        Line2D([], [], color=one.colour, marker=one.marker, label=literal(one.name))
        for one in look.values()
    ]
    if any(len(seeds) > 1 for line in drawn for seeds in line.values()):
        handles.append(seed_range())
    add_legend(figure, handles)
    add_title(figure, title)
    return figure


def plot_seeds(axes: Axes, line: Mapping[float, Sequence[float]], **style: Any) -> None:
    """Plot the median over seeds by x, in a band from the smallest to the largest value."""
    axes.plot(list(line), [*map(statistics.median, line.values())], **style)
    if any(len(seeds) > 1 for seeds in line.values()):
        low, high = [*map(min, line.values())], [*map(max, line.values())]
        axes.fill_between(list(line), low, high, color=style.get("color"), alpha=BAND, linewidth=0)


def _finite_values(panel: LinePanel) -> dict[str, dict[float, list[float]]]:
    """Return the finite values by label and x in rising order; negated for "negative log"."""
    sign = -1 if panel.y_scale == "negative log" else 1
    kept = {
        label: {
            x: values
            for x in sorted(line)
            if (values := [sign * value for value in line[x] if math.isfinite(value)])
        }
        for label, line in panel.lines.items()
    }
    for label, line in kept.items():
        if panel.y_scale != "linear" and any(v <= 0 for values in line.values() for v in values):
            side = "negative" if sign < 0 else "positive"
            raise HebaeError(
                f"{label} has values that are not {side}: they cannot be drawn on a logarithmic "
                "axis."
            )
    return kept


def _draw(
    axes: Axes,
    panel: LinePanel,
    lines: Mapping[str, Mapping[float, Sequence[float]]],
    look: Mapping[str, Look],
) -> None:
    for label, line in lines.items():
        plot_seeds(
            axes,
            line,
            color=look[label].colour,
            marker=look[label].marker,
            markevery=max(1, math.ceil(len(line) / _MARKERS)),
            markersize=3.5,
            linewidth=1.3,
        )
    if panel.mark is not None:
        axes.axvline(panel.mark, color=QUIET, linewidth=0.7, linestyle=(0, (2, 2)), zorder=0.5)
    if panel.x_scale == "log":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        whole_numbers(axes.xaxis)


def _share_y_axis(
    row: Sequence[Axes],
    panels: Sequence[LinePanel],
    lines: Sequence[Mapping[str, Mapping[float, Sequence[float]]]],
) -> None:
    """Give the panels of a row one range of values, labelled at the first panel only."""
    for axes, panel in zip(row, panels, strict=True):
        if panel.y_scale != "linear":
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
    drawn = [axes for axes, of_panel in zip(row, lines, strict=True) if any(of_panel.values())]
    limits = [axes.get_ylim() for axes in drawn or row[:1]]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    for place, (axes, panel) in enumerate(zip(row, panels, strict=True)):
        negative = panel.y_scale == "negative log"
        if panel.y_scale != "linear":
            # Powers of ten alone would give a narrow range one labelled tick, or none.
            subs = next((s for most, s in _LABELLED.items() if high < most * low), (1.0,))
            axes.yaxis.set_major_locator(LogLocator(subs=subs))
            minus = "\N{MINUS SIGN}" if negative else ""
            axes.yaxis.set_major_formatter(
                FuncFormatter(lambda value, _, minus=minus: f"{minus}{value:,.10g}")
            )
        axes.set_ylim(*((high, low) if negative else (low, high)))
        axes.tick_params(labelleft=place == 0)


@dataclass(frozen=True)
class Convergence:
    """Estimates for one model by annealed importance sampling.

    Parameters
    ----------
    temperatures : sequence of int
        Numbers of temperatures, rising.
    lower : sequence of float
        Mean stochastic lower bound on log p(x) of the same test examples, in nats.
    gap : sequence of float
        Upper minus lower bound on examples simulated from the model, in nats.
    """

    temperatures: Sequence[int]
    lower: Sequence[float]
    gap: Sequence[float]


@styled()
def annealing_convergence(models: Mapping[str, Convergence], *, title: str = "") -> Figure:
    """Draw the bound on test examples and the gap on simulated examples by temperatures.

    Parameters
    ----------
    models : mapping of str to Convergence
        By method, or any name.
    title : str

    Raises
    ------
    HebaeError
        If no model is given.
    """
    figure = new_figure(7.2, 3.2, models)
    left, right = figure.subplots(1, 2)
    for label, look in looks(models).items():
        curve = models[label]
        line: dict[str, Any] = {"color": look.colour, "marker": look.marker, "label": look.name}
        left.plot(curve.temperatures, curve.lower, **line)
        right.plot(curve.temperatures, curve.gap, **line)
    describe(left, "Test examples", "lower bound on log p(x), nats per example")
    describe(right, "Simulated examples", "upper minus lower bound, nats per example; 0: converged")
    ticks = sorted({t for curve in models.values() for t in curve.temperatures})
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{t:,}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlabel("temperatures")
    right.axhline(0, color=QUIET, linewidth=0.9)
    add_legend(figure, left.get_lines())
    add_title(figure, title)
    return figure
