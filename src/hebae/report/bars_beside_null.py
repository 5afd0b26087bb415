"""Bars of a coefficient by method, each beside what it would be were there nothing to find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from hebae.errors import HebaeError
from hebae.report.methods import looks
from hebae.report.style import QUIET, describe, literal, styled

__all__ = ["BarPanel", "bars_beside_null"]

_HALF = 0.32  # of a bar's width


@dataclass(frozen=True)
class BarPanel:
    """A coefficient.

    Parameters
    ----------
    values : mapping of str to float
        By label.
    nulls : mapping of str to float
        By label: what chance alone would show; none where it is 0 by definition.
    title, note, y_label : str
    ceiling : float, optional
        The most that the coefficient can be.
    """

    values: Mapping[str, float]
    nulls: Mapping[str, float]
    title: str
    note: str = ""
    y_label: str = ""
    ceiling: float | None = None


@styled()
def bars_beside_null(panels: Mapping[str, BarPanel], *, title: str = "") -> Figure:
    """Draw a panel a coefficient, side by side.

    Raises
    ------
    HebaeError
        If there is no panel, or one without values.
    """
    if not panels or not all(panel.values for panel in panels.values()):
        raise HebaeError("there is nothing to draw: no panel, or one without values.")
    figure = Figure(
        figsize=(2.5 * len(panels) + 0.4, 2.7),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06),
    )
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(grid, panels.values(), strict=True):
        look = looks(panel.values)
        for place, (label, value) in enumerate(panel.values.items()):
            axes.bar(place, value, 2 * _HALF, color=look[label].colour)
            axes.annotate(
                f"{value:.3g}",
                (place, value),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
            )
            if label in panel.nulls:
                null = panel.nulls[label]
                axes.hlines(null, place - _HALF, place + _HALF, color="white", linewidth=2.6)
                axes.hlines(null, place - _HALF, place + _HALF, color="#222222", linewidth=1.2)
        if panel.ceiling is not None:
            axes.axhline(panel.ceiling, color=QUIET, linewidth=0.8, linestyle=(0, (4, 2)))
        axes.set_xticks(range(len(look)), [literal(one.name) for one in look.values()])
        axes.set_ylim(0, 1.15 * max(*panel.values.values(), panel.ceiling or 0, 1e-12))
        axes.set_ylabel(panel.y_label)
        axes.grid(visible=False, axis="x")
        describe(axes, panel.title, panel.note)
    handles = []
    if any(panel.nulls for panel in panels.values()):
        handles.append(Line2D([], [], color="#222222", linewidth=1.2, label="permuted indices"))
    if any(panel.ceiling is not None for panel in panels.values()):
        most = Line2D([], [], color=QUIET, linestyle=(0, (4, 2)), linewidth=0.8)
        most.set_label("the most that it can be")
        handles.append(most)
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", wrap=True)
    return figure
