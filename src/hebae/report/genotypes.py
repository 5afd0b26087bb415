"""Figure of generated and real genotypes: allele frequencies, decay of linkage, and structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hebae.report.methods import looks
from hebae.report.style import QUIET, add_legend, describe, new_figure, styled


class GenotypePanels(NamedTuple):
    """Arrays by name, as `hebae.experiments.metrics.genotypes` stores them."""

    frequencies: Mapping[str, Any]
    """``real`` and ``fake`` (d,)."""
    linkage: Mapping[str, Any]
    """``distance``, and mean r^2 ``real`` and ``fake``, of as many bins; ``unit`` of distance."""
    structure: Mapping[str, Any]
    """Scores ``real`` (n, 2) and ``fake`` (m, 2)."""


@styled()
def genotype_panels(models: Mapping[str, GenotypePanels], *, title: str = "") -> Figure:
    """Draw three panels in which each model has a colour."""
    figure = new_figure(9.6, 3.9, models, title)
    frequencies, linkage, structure = figure.subplots(1, 3)
    dashed: dict[str, Any] = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.2}
    points: dict[str, Any] = {"s": 6, "linewidths": 0, "alpha": 0.6}
    first = next(iter(models.values()))
    real = first.structure["real"]
    structure.scatter(*zip(*real, strict=True), color=QUIET, **points)
    linkage.plot(first.linkage["distance"], first.linkage["real"], **dashed)
    for label, look in looks(models).items():
        one = models[label]
        frequencies.scatter(
            one.frequencies["real"], one.frequencies["fake"], color=look.colour, **points
        )
        line = {"color": look.colour, "marker": look.marker, "markersize": 3.5, "linewidth": 1.3}
        linkage.plot(one.linkage["distance"], one.linkage["fake"], **line)
        structure.scatter(*zip(*one.structure["fake"], strict=True), color=look.colour, **points)
    frequencies.plot([0, 1], [0, 1], **dashed)
    frequencies.set(xlabel="real", ylabel="samples", aspect="equal")
    describe(frequencies, "Allele frequencies")
    linkage.set(xlabel=f"distance ({first.linkage['unit']})", ylabel="mean r2", xscale="log")
    describe(linkage, "Decay of linkage")
    structure.set(xlabel="component 1", ylabel="component 2", xticks=[], yticks=[])
    describe(structure, "Principal components")
    dot = Line2D([], [], linestyle="", marker="o", color=QUIET, label="real people")
    add_legend(figure, looks(models).values(), dot, Line2D([], [], label="real", **dashed))
    return figure
