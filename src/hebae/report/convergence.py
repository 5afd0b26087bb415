"""Whether annealed importance sampling has converged: more temperatures, the same answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from hebae.errors import HebaeError
from hebae.report.methods import looks
from hebae.report.style import QUIET, describe, literal, styled

__all__ = ["Convergence", "annealing_convergence"]


@dataclass(frozen=True)
class Convergence:
    """Estimates of one model at growing numbers of temperatures.

    Parameters
    ----------
    temperatures : sequence of int
    lower : sequence of float
        Mean log p(x) of the same test examples, nats: a stochastic lower bound.
    gap : sequence of float
        Upper less lower bound on examples simulated from the model, nats.
    """

    temperatures: Sequence[int]
    lower: Sequence[float]
    gap: Sequence[float]


@styled()
def annealing_convergence(models: Mapping[str, Convergence], *, title: str = "") -> Figure:
    """Draw the bound on test examples, and the gap on simulated ones, against temperatures.

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
    if not models:
        raise HebaeError("there is nothing to draw: no model was given.")
    figure = Figure(figsize=(7.2, 3.2), layout=ConstrainedLayoutEngine(w_pad=0.1))
    left, right = figure.subplots(1, 2)
    for label, look in looks(models).items():
        curve = models[label]
        line: dict[str, Any] = {"color": look.colour, "marker": look.marker, "label": look.name}
        left.plot(curve.temperatures, curve.lower, **line)
        right.plot(curve.temperatures, curve.gap, **line)
    describe(left, "Test examples", "lower bound on log p(x), nats an example")
    describe(right, "Simulated examples", "upper less lower bound, nats; 0: converged")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        ticks = sorted({t for curve in models.values() for t in curve.temperatures})
        axes.set_xticks(ticks, [f"{t:,}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlabel("temperatures")
    right.axhline(0, color=QUIET, linewidth=0.9)
    left.legend()
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", wrap=True)
    return figure
