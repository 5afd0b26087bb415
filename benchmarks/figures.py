"""The plots of the report, each as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from turns import quartiles

from hebae.report.style import QUIET, describe, save, styled

__all__ = ["draw_aims", "draw_panels", "draw_readings"]

MET, MISSED = "#1b7837", "#b2182b"
COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377")
ROW = 0.24
"""Inches per row of a plot."""


def draw_aims(aims: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw each quantity as a share of its target: left of the line at 1 it is met."""
    with styled():
        figure = Figure(figsize=(7, 1.0 + ROW * len(aims)), layout="constrained")
        axes = figure.add_subplot()
        for row, aim in enumerate(aims):
            low, middle, high = sorted(_share(aim, aim[name]) for name in ("low", "median", "high"))
            colour = MET if aim["met"] else MISSED
            axes.plot([low, high], [row, row], color=colour, alpha=0.45, linewidth=4)
            axes.plot(middle, row, "o", color=colour)
        axes.axvline(1, color=QUIET, linewidth=1)
        _name_rows(axes, [aim["what"].replace("`", "") for aim in aims])
        axes.set_xscale("log")
        axes.set_xlabel("share of the target (left of 1: met)")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        _label_plainly(axes.xaxis)
        describe(axes, "Targets", "dots: medians; bars: quartiles")
        _write(figure, path)


def _share(aim: dict[str, Any], value: float) -> float:
    """Value / target for an upper bound, target / value for a lower bound."""
    smallest = 1e-3  # a difference of two clocks may be 0
    if aim["at_most"] is not None:
        return max(value, smallest) / aim["at_most"]
    return aim["at_least"] / max(value, smallest)


def draw_readings(record: dict[str, Any], path: Path) -> None:
    """Draw all rounds of all contenders, and the medians."""
    factor = 1e3 if record["readings_unit"] == "ms" else 1
    readings = record["readings"]
    with styled():
        figure = Figure(figsize=(7, 1.0 + ROW * len(readings)), layout="constrained")
        axes = figure.add_subplot()
        for row, seconds in enumerate(readings.values()):
            values = factor * np.asarray(seconds)
            axes.plot(values, np.full(len(values), row), "o", color=COLOURS[0], alpha=0.35)
            axes.plot(factor * quartiles(seconds)[1], row, "|", color=MISSED, markersize=12)
        _name_rows(axes, list(readings))
        everything = [s for seconds in readings.values() for s in seconds]
        if max(everything) > 20 * min(everything):
            axes.set_xscale("log")
            _plain(axes.xaxis)
        else:
            axes.set_xlim(left=0)
        axes.set_xlabel(f"{record['readings_unit']} {record['readings_title']}")
        describe(axes, record["title"], "dots: rounds; lines: medians")
        _write(figure, path)


def draw_panels(panels: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw curves on logarithmic axes, with their exponents."""
    with styled():
        width = 2.9 if len(panels) > 2 else 3.6
        figure = Figure(figsize=(width * len(panels), 2.9), layout="constrained")
        for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
            for colour, curve in zip(COLOURS, panel["curves"], strict=False):
                label = curve["label"]
                if curve["exponent"] is not None:
                    label += f": exponent {curve['exponent']:.2f}"
                axes.plot(curve["x"], curve["y"], "o-", color=colour, label=label)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(panel["curves"][0]["x"])
            _label_plainly(axes.xaxis)
            _plain(axes.yaxis)
            axes.margins(y=0.15)
            axes.set_xlabel(panel["x_label"])
            axes.set_ylabel(panel["y_label"])
            axes.legend(loc="best", fontsize=7)
            describe(axes, panel["title"])
        _write(figure, path)


def _name_rows(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _plain(axis: Any) -> None:
    """Label an axis with plain numbers, also in a narrow range."""
    low, high = axis.get_view_interval()
    if high < 20 * low:
        axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    _label_plainly(axis)


def _label_plainly(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _write(figure: Figure, path: Path) -> None:
    save(figure, path.with_suffix(".png"))
    with mpl.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(path.with_suffix(".svg"), metadata={"Date": None})
