"""Figure of generated and real counts: mean and variance, zeros, and library sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hebae.report.methods import looks
from hebae.report.style import QUIET, add_legend, describe, new_figure, styled


@styled()
def count_panels(models: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """Draw three panels in which each model has a colour.

    A model has, of real and of generated counts, ``real_`` and ``fake_`` followed by ``mean``,
    ``variance`` and ``zeros`` (genes,), and ``sizes``: evenly spaced quantiles of library sizes.
    """
    figure = new_figure(9.6, 3.9, models, title)
    relation, zeros, sizes = figure.subplots(1, 3)
    dashed: dict[str, Any] = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.2}
    points: dict[str, Any] = {"s": 6, "linewidths": 0, "alpha": 0.6}
    first = next(iter(models.values()))
    steps = np.linspace(0, 1, len(first["real_sizes"]))
    means = _positive(first["real_mean"], first["real_variance"])
    sizes.plot(first["real_sizes"], steps, **dashed)
    generated: list[np.ndarray] = []
    for label, look in looks(models).items():
        one = models[label]
        generated.append(_positive(one["fake_mean"], one["fake_variance"]))
        relation.scatter(*generated[-1], color=look.colour, **points)
        zeros.scatter(one["real_zeros"], one["fake_zeros"], color=look.colour, **points)
        sizes.plot(one["fake_sizes"], steps, color=look.colour, linewidth=1.3)
    relation.scatter(*means, color="black", **points | {"s": 3})
    means = np.hstack([means, *generated])
    if means.size:
        ends = [means[0].min(), means[0].max()]
        relation.plot(ends, ends, color=QUIET, linewidth=0.8)
    relation.set(xlabel="mean", ylabel="variance", xscale="log", yscale="log")
    describe(relation, "Genes: mean and variance", "line: Poisson, variance = mean")
    zeros.plot([0, 1], [0, 1], **dashed)
    zeros.set(xlabel="real", ylabel="samples", aspect="equal")
    describe(zeros, "Genes: fraction of zeros", "dashed: equal")
    sizes.set(xlabel="counts of a cell", ylabel="share of cells", ylim=(0, 1.02))
    describe(sizes, "Library sizes", "distribution function")
    dot = Line2D([], [], linestyle="", marker="o", color="black", markersize=3, label="real genes")
    add_legend(figure, looks(models).values(), dot, Line2D([], [], label="real", **dashed))
    return figure


def _positive(mean: Any, variance: Any) -> np.ndarray:
    """Return what a logarithmic scale can show."""
    both = np.array([mean, variance], np.float64)
    return both[:, (both > 0).all(axis=0)]
