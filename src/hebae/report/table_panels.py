"""Figures of generated and real tables: columns, associations, predictions, closest records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hebae.report.methods import Look, looks
from hebae.report.style import QUIET, add_legend, describe, literal, new_figure, styled

_REAL = "#CFCFCF"
_DASHED: dict[str, Any] = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.2}
_MOST_COLUMNS, _ACROSS, _LETTERS, _MOST_TICKS = 12, 4, 12, 12


@styled()
def column_panels(models: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """Draw the distribution of each column, up to 12: those that differ most in the first model.

    A model has ``columns``, their ``distances``, and their ``histograms``: shares ``real`` and
    ``fake`` by ``edges`` of bins, or by ``categories``.
    """
    first = next(iter(models.values()))
    columns = first["columns"][:_MOST_COLUMNS]
    across = min(_ACROSS, len(columns))
    down = math.ceil(len(columns) / across)
    figure = new_figure(2.4 * across + 0.6, 2.0 * down + 0.8, models, title)
    grid = figure.subplots(down, across, squeeze=False).flat
    for axes in grid[len(columns) :]:
        axes.set_axis_off()
    look = looks(models)
    for axes, column in zip(grid, columns, strict=False):
        found = {label: one for label, one in models.items() if column in one["columns"]}
        where = {label: one["columns"].index(column) for label, one in found.items()}
        parts = {label: one["histograms"][where[label]] for label, one in found.items()}
        distances = [f"{one['distances'][where[label]]:.2f}" for label, one in found.items()]
        _draw_column(axes, parts, look)
        describe(axes, _short(column, 22), f"distance {', '.join(distances)}")
        axes.set_ylim(bottom=0)
    for axes in figure.axes[::across]:
        axes.set_ylabel("share of rows")
    add_legend(figure, look.values(), Patch(color=_REAL, label="real"))
    return figure


def _draw_column(axes: Axes, parts: Mapping[str, Any], look: Mapping[str, Look]) -> None:
    first = next(iter(parts.values()))
    if "edges" in first:
        axes.stairs(first["real"], first["edges"], fill=True, color=_REAL)
        for label, part in parts.items():
            axes.stairs(part["fake"], part["edges"], color=look[label].colour, linewidth=1.3)
        return
    shown = range(min(len(first["categories"]), _MOST_TICKS))
    axes.bar(shown, [first["real"][i] for i in shown], width=0.75, color=_REAL)
    for place, (label, part) in enumerate(parts.items()):
        shift = 0.5 * ((place + 0.5) / len(parts) - 0.5)
        values = [part["fake"][i] for i in shown]
        marks: dict[str, Any] = {
            "color": look[label].colour,
            "marker": look[label].marker,
            "linestyle": "",
        }
        axes.plot([i + shift for i in shown], values, markersize=4, **marks)
    names = [literal(_short(first["categories"][i], _LETTERS)) for i in shown]
    axes.set_xticks(
        list(shown),
        names,
        rotation=45 if len(shown) > 2 else 0,
        ha="right" if len(shown) > 2 else "center",
        fontsize=6.5,
    )
    axes.grid(axis="x", visible=False)


@styled()
def association_panels(models: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """Draw the association of each pair of columns, of real rows and of each model's.

    A model has ``columns`` and the matrices ``real`` and ``fake``.
    """
    first = next(iter(models.values()))
    panels = {"real": first["real"]} | {
        look.name: models[label]["fake"] for label, look in looks(models).items()
    }
    side = max(2.2, 0.16 * len(first["columns"]) + 1.2)
    figure = new_figure(side * len(panels) + 1.6, side + 1.4, models, title, h_pad=0.2)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    names = [literal(_short(name, 16)) for name in first["columns"]]
    for axes, (label, matrix) in zip(row, panels.items(), strict=True):
        image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names if axes is row[0] else [], fontsize=6)
        axes.grid(visible=False)
        difference = np.abs(np.subtract(matrix, first["real"]))[np.triu_indices(len(names), 1)]
        note = f"mean difference {difference.mean():.3f}" if len(difference) else ""
        describe(axes, label, "held-out rows" if label == "real" else note)
    figure.colorbar(image, ax=row, shrink=0.8, label="association")
    return figure


@styled()
def roc_panel(models: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """Draw ROC curves of a prediction on real rows.

    A model has the name of the ``target`` and points (points, 2) of the curves ``fake`` and
    ``real``, after training on its samples and on real rows.
    """
    figure = new_figure(5.4, 5.0, models, title)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8)
    for label, look in looks(models).items():
        axes.plot(*zip(*models[label]["fake"], strict=True), color=look.colour, linewidth=1.4)
    first = next(iter(models.values()))
    if first["real"]:
        axes.plot(*zip(*first["real"], strict=True), **_DASHED)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    describe(axes, f"Prediction of {_short(first['target'], 30)}")
    line = Line2D([], [], label="trained on real rows", **_DASHED)
    add_legend(figure, _plain(models), line)
    return figure


@styled()
def closest_panel(models: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """Draw distances to the closest training row, by quantiles ``fake`` and ``held_out``."""
    figure = new_figure(5.4, 3.8, models, title)
    axes = figure.subplots()
    first = next(iter(models.values()))["held_out"]
    steps = np.linspace(0, 1, len(first))
    greatest = first[-2]
    for label, look in looks(models).items():
        axes.plot(models[label]["fake"], steps, color=look.colour, linewidth=1.4)
        greatest = max(greatest, models[label]["fake"][-2])
    axes.plot(first, steps, **_DASHED)
    axes.set(xlabel="distance to the closest training row", ylabel="share of rows", ylim=(0, 1))
    axes.set_xlim(left=0, right=greatest or 1)
    add_legend(figure, _plain(models), Line2D([], [], label="held-out rows", **_DASHED))
    return figure


def _plain(models: Mapping[str, Any]) -> list[Look]:
    """Return looks without markers, which these lines do not have."""
    return [Look(look.name, look.colour, "") for look in looks(models).values()]


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
