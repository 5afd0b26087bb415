"""Lines by method: grids of small panels, convergence of bounds, and loss curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from hebae.errors import HebaeError
from hebae.report.charts import Line, LinePanel, Record, loss_terms, term_line
from hebae.report.methods import looks
from hebae.report.style import QUIET, add_legend, describe, literal, new_figure, styled

_BAND = 0.16  # opacity of the range over seeds
_MARKERS = 12  # per line at most
# Multiples of a power of ten that a logarithmic axis labels, by its range (greatest / least).
_LABELLED = {8: (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), 100: (1.0, 2.0, 5.0), math.inf: (1.0,)}


@styled()
def line_grid(rows: Sequence[Sequence[LinePanel]], *, title: str = "") -> Figure:
    """Draw rows of panels, all of one length; the panels of a row share their y axis."""
    across = len(rows[0]) if rows else 0
    look = looks(dict.fromkeys(label for row in rows for panel in row for label in panel.lines))
    values = [[_finite_values(panel) for panel in row] for row in rows]
    drawn = [line for row in values for lines in row for line in lines.values() if line]
    size = max(2.3 * across + 0.7, 5.0), 1.75 * len(rows) + 0.6
    figure = new_figure(*size, drawn, title, what="finite value", w_pad=0.05)
    grid = figure.subplots(len(rows), across, squeeze=False)
    for row, panels, lines_of_row in zip(grid, rows, values, strict=True):
        for axes, panel, lines in zip(row, panels, lines_of_row, strict=True):
            for label, line in lines.items():
                style = {"color": look[label].colour, "marker": look[label].marker}
                every = max(1, math.ceil(len(line) / _MARKERS))
                plot_seeds(axes, line, markevery=every, markersize=3.5, linewidth=1.3, **style)
            describe(axes, panel.title, panel.note)
            axes.set_xlabel(panel.x_label)
            if panel.mark is not None:
                dots = (0, (2, 2))
                axes.axvline(panel.mark, color=QUIET, linewidth=0.7, linestyle=dots, zorder=0.5)
            if panel.x_scale == "log":
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(numticks=5))
                axes.xaxis.set_minor_formatter(NullFormatter())
            elif panel.x_scale == "as given":
                _label_values(axes, sorted({x for line in lines.values() for x in line}))
            else:
                whole_numbers(axes.xaxis)
            if panel.y_scale != "linear":
                axes.set_yscale("log")
                axes.yaxis.set_minor_formatter(NullFormatter())
        _share_y_axis(row, panels, lines_of_row)
    several = any(len(seeds) > 1 for line in drawn for seeds in line.values())
    add_legend(figure, look.values(), *([seed_range()] if several else []))
    return figure


def _label_values(axes: Axes, xs: Sequence[float]) -> None:
    positive = [x for x in xs if x > 0]
    if positive and positive[-1] > 8 * positive[0]:
        linear = {} if xs[0] > 0 else {"linthresh": positive[0]}
        axes.set_xscale("symlog" if linear else "log", **linear)
    shown = xs[:: math.ceil(len(xs) / 8)]
    axes.set_xticks(shown, [f"{x:g}" for x in shown])
    axes.minorticks_off()


def plot_seeds(axes: Axes, line: Line, **style: Any) -> None:
    """Plot the median over seeds by x, in a band from the smallest to the largest value."""
    axes.plot(list(line), [*map(statistics.median, line.values())], **style)
    if any(len(seeds) > 1 for seeds in line.values()):
        low, high = [*map(min, line.values())], [*map(max, line.values())]
        axes.fill_between(list(line), low, high, color=style["color"], alpha=_BAND, linewidth=0)


def seed_range() -> Patch:
    """Return the legend's handle for a band over seeds."""
    return Patch(color=QUIET, alpha=_BAND, linewidth=0, label="range over seeds")


def whole_numbers(axis: Axis, ticks: int = 5) -> None:
    """Label whole numbers only."""
    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def _finite_values(panel: LinePanel) -> dict[str, Line]:
    """Return the finite values by label and x in rising order; negated for "negative log"."""
    sign = -1 if panel.y_scale == "negative log" else 1
    kept: dict[str, Line] = {}
    for label, line in panel.lines.items():
        finite = {x: [sign * v for v in line[x] if math.isfinite(v)] for x in sorted(line)}
        kept[label] = {x: values for x, values in finite.items() if values}
        if panel.y_scale != "linear" and any(v <= 0 for vs in finite.values() for v in vs):
            raise HebaeError(
                f"{label} has values that are not {'negative' if sign < 0 else 'positive'}: they "
                "cannot be drawn on a logarithmic axis."
            )
    return kept


def _share_y_axis(
    row: Sequence[Axes], panels: Sequence[LinePanel], lines: Sequence[Mapping[str, Line]]
) -> None:
    """Give the panels of a row one range of values, labelled at the first panel only."""
    drawn = [axes for axes, of_panel in zip(row, lines, strict=True) if any(of_panel.values())]
    limits = [axes.get_ylim() for axes in drawn or row[:1]]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    for axes, panel in zip(row, panels, strict=True):
        negative = panel.y_scale == "negative log"
        if panel.y_scale != "linear":
            # Powers of ten alone would give a narrow range one labelled tick, or none.
            subs = next(s for most, s in _LABELLED.items() if high < most * low)
            axes.yaxis.set_major_locator(LogLocator(subs=subs))
            minus = "\N{MINUS SIGN}" if negative else ""
            axes.yaxis.set_major_formatter(lambda value, _, minus=minus: f"{minus}{value:,.10g}")
        axes.set_ylim(*((high, low) if negative else (low, high)))
        axes.tick_params(labelleft=axes is row[0])
    row[0].set_ylabel(panels[0].y_label)


def annealing_panels(
    models: Mapping[str, tuple[Sequence[int], Sequence[float], Sequence[float]]],
) -> list[LinePanel]:
    """Return the panels of `annealing_convergence` for a chart."""
    panels = []
    for place, title, note in (
        (1, "Test examples", "lower bound on log p(x)"),
        (2, "Simulated examples", "upper minus lower bound; 0: converged"),
    ):
        values: dict[str, Line] = {
            label: {float(t): [v] for t, v in zip(of[0], of[place], strict=True)}
            for label, of in models.items()
        }
        unit = "nats per example"
        panels.append(LinePanel(values, title, note, "temperatures", unit, "as given"))
    return panels


@styled()
def annealing_convergence(
    models: Mapping[str, tuple[Sequence[int], Sequence[float], Sequence[float]]],
    *,
    title: str = "",
) -> Figure:
    """Draw estimates by annealed importance sampling against the number of temperatures.

    `models` gives, by method, rising numbers of temperatures, the mean stochastic lower bound on
    log p(x) of the same test examples, and the gap between the bounds on examples simulated from
    the model, in nats.
    """
    figure = new_figure(7.2, 3.2, models, title)
    left, right = figure.subplots(1, 2)
    for label, look in looks(models).items():
        temperatures, lower, gap = models[label]
        style: dict[str, Any] = {"color": look.colour, "marker": look.marker}
        left.plot(temperatures, lower, **style)
        right.plot(temperatures, gap, **style)
    describe(left, "Test examples", "lower bound on log p(x), nats per example")
    describe(right, "Simulated examples", "upper minus lower bound, nats per example; 0: converged")
    ticks = sorted({t for temperatures, *_ in models.values() for t in temperatures})
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{t:,}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlabel("temperatures")
    right.axhline(0, color=QUIET, linewidth=0.9)
    add_legend(figure, looks(models).values())
    return figure


# ---- loss curves ---------------------------------------------------------------------------------

_TRAINING: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.1, "alpha": 0.6}
_BOUNDARY: dict[str, Any] = {"color": QUIET, "linewidth": 0.8, "linestyle": (0, (1, 2))}
_COMPRESSED = 0.35  # height of the compressed part of an axis, over that of the linear part


@styled()
def loss_curves(
    runs: Mapping[str, Sequence[Sequence[Record]]],
    held_out_split: str | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw objective, reconstruction and penalties by epoch, on training and held-out data.

    Each penalty has axes of its own, since penalties are different quantities. All epochs are
    shown. Where the first ones are far off, the axis is linear over the range of the later epochs
    and compressed beyond it.

    `runs` gives, by method, a list of records per seed, as in ``metrics.jsonl``. For several seeds
    the median is drawn in a band from the smallest to the largest value, at the epochs that all
    seeds have. `held_out_split` is named in the legend.
    """
    histories = {label: [seed for seed in seeds if seed] for label, seeds in runs.items()}
    records = [record for seeds in histories.values() for seed in seeds for record in seed]
    terms = loss_terms(records) if records else []
    penalties = [name for name, *_ in terms[2:]]
    rows, columns = max(1, len(penalties)), 3 if penalties else 2
    size = 3.2 * columns, max(3.5, 1.35 * rows + 0.7)
    figure = new_figure(*size, terms, title, what="finished epoch")
    grid = figure.add_gridspec(rows, columns)
    panels = []
    for number, (term, heading, note, unit) in enumerate(terms):
        if term == "objective" and len(histories) > 1:
            cautions = ["differs by method", *([note] if "moments" in penalties else [])]
            note = "; ".join(cautions)
        place = grid[:, number] if number < 2 else grid[number - 2, 2]
        panels.append((place, term, heading, note, unit))
    compressed = False
    for place, term, heading, note, unit in panels:
        axes = figure.add_subplot(place)
        ticks = max(2, 5 // rows) if term in penalties else 5
        compressed |= _draw(axes, histories, term, ticks)
        describe(axes, heading, note)
        axes.set(ylabel=unit)
        is_lowest = place.rowspan.stop == rows
        axes.set(xlabel="epoch" if is_lowest else "")
        axes.tick_params(labelbottom=is_lowest)

    handles: list[Artist] = []
    if any(record.get("held_out") for record in records):
        split = f"held-out ({held_out_split})" if held_out_split else "held-out"
        handles.append(Line2D([], [], color=QUIET, label=literal(split)))
    handles.append(Line2D([], [], color=QUIET, label="training", **_TRAINING))
    if any(len(seeds) > 1 for seeds in histories.values()):
        handles.append(seed_range())
    if compressed:
        handles.append(Line2D([], [], label="compressed beyond this line", **_BOUNDARY))
    add_legend(figure, looks(histories).values(), *handles)
    return figure


def _draw(
    axes: Axes, histories: Mapping[str, Sequence[Sequence[Record]]], term: str, ticks: int
) -> bool:
    """Draw one term; return whether a range of its axis is compressed."""
    drawn: list[Line] = []
    for label, look in looks(histories).items():
        training, held_out = (
            term_line(histories[label], part, term) for part in ("train", "held_out")
        )
        # Only one of the two lines has markers: held-out if there is one.
        for line, style, marked in ((training, _TRAINING, not held_out), (held_out, {}, True)):
            if line:
                drawn.append(line)
                plot_seeds(
                    axes,
                    line,
                    color=look.colour,
                    marker=look.marker if marked else "",
                    markevery=max(1, len(line) // 6),
                    **style,
                )
    last = max((max(line) for line in drawn), default=1.0)
    axes.set_xlim(1 - 0.03 * last, 1.03 * last)
    whole_numbers(axes.xaxis, ticks=6)
    return bool(drawn) and _fit_y_axis(axes, drawn, last, ticks)


def _fit_y_axis(axes: Axes, lines: Sequence[Line], last: float, ticks: int) -> bool:
    """Show all values; compress the range that only the first quarter of the epochs needs.

    Return whether a range is compressed.
    """
    points = [(epoch, v) for line in lines for epoch, values in line.items() for v in values]
    lowest, highest = min(v for _, v in points), max(v for _, v in points)
    later = [value for epoch, value in points if epoch > last / 4]
    margin = 0.06 * (highest - lowest) or 0.06 * abs(highest) or 1.0
    if highest - lowest <= 4 * (max(later) - min(later)):
        axes.set_ylim(lowest - margin, highest + margin)
        axes.yaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
        return False
    near = 0.1 * (max(later) - min(later)) or 0.05 * margin
    low, high = min(later) - near, max(later) + near
    knots, heights = [low, high], [0.0, 1.0]
    if lowest < low:
        knots, heights = [lowest - margin, *knots], [-_COMPRESSED, *heights]
    if highest > high:
        knots, heights = [*knots, highest + margin], [*heights, 1 + _COMPRESSED]

    def forward(values: Any) -> Any:
        return np.interp(values, knots, heights)

    def inverse(values: Any) -> Any:
        return np.interp(values, heights, knots)

    axes.set_yscale("function", functions=(forward, inverse))
    axes.set_ylim(knots[0], knots[-1])
    inside = MaxNLocator(ticks, steps=[1, 2, 5, 10]).tick_values(low, high)
    shown = [tick for tick in inside if low <= tick <= high]
    for bound, end in ((low, lowest), (high, highest)):
        if not low <= end <= high:
            shown.append(float(f"{end:.2g}"))
            axes.axhline(bound, **_BOUNDARY)
    axes.set_yticks(shown, [f"{tick:,.6g}".replace("-", "−") for tick in shown])
    return True
