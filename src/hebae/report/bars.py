"""Bar charts of coefficients by method, each beside its value under independence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hebae.report.methods import looks
from hebae.report.style import INK, QUIET, describe, literal, new_figure, styled

_HALF = 0.32  # of a bar's width
_DASHED = (0, (4, 2))


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
