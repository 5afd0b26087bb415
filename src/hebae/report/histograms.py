"""How codes are distributed, dimension by dimension, against the normal density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike

from hebae.errors import HebaeError
from hebae.report.methods import looks
from hebae.report.style import describe, literal, styled

__all__ = ["Histograms", "code_histograms"]


@dataclass(frozen=True)
class Histograms:
    """Densities of each dimension of a code over the same bins.

    Parameters
    ----------
    edges : sequence of float, length b + 1
    densities : array, shape (k, b)
        Share of the examples in a bin, over its width.
    """

    edges: Sequence[float]
    densities: ArrayLike


@styled()
def code_histograms(models: Mapping[str, Mapping[str, Histograms]], *, title: str = "") -> Figure:
    """Draw a line for each dimension, and the density of N(0, 1) over them.

    Parameters
    ----------
    models : mapping of str to (mapping of str to Histograms)
        By method; then by what the histograms are of, such as the mean of q(z|x), and z: a row
        each, the same for all methods.
    title : str

    Raises
    ------
    HebaeError
        If no model is given.
    """
    rows = list(dict.fromkeys(name for kinds in models.values() for name in kinds))
    if not rows:
        raise HebaeError("there is nothing to draw: no model was given.")
    figure = Figure(
        figsize=(2.5 * len(models) + 0.6, 1.9 * len(rows) + 0.9),
        layout=ConstrainedLayoutEngine(h_pad=0.08),
    )
    grid = figure.subplots(len(rows), len(models), squeeze=False, sharex=True, sharey="row")
    for column, (label, look) in enumerate(looks(models).items()):
        for row, name in enumerate(rows):
            axes = grid[row, column]
            kind = models[label].get(name)
            if kind is not None:
                edges, densities = np.asarray(kind.edges), np.asarray(kind.densities)
                opacity = max(0.15, min(0.8, 6 / len(densities)))
                for density in densities:
                    axes.stairs(density, edges, color=look.colour, alpha=opacity, linewidth=1.0)
                z = np.linspace(edges[0], edges[-1], 200)
                normal = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
                axes.plot(z, normal, color="black", linestyle=(0, (4, 2)), linewidth=1.2)
                # A dimension that has collapsed is a needle, and would flatten all others.
                axes.set_ylim(0, 1.2)
                needles = int((densities.max(axis=1) > 1.2).sum())
                note = f"{needles} of {len(densities)} dimensions go beyond" if needles else ""
                describe(axes, look.name if row == 0 else "", note)
            if column == 0:
                axes.set_ylabel(f"density of {name}")
        grid[-1, column].set_xlabel("latent value (dashed: N(0, 1))")
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", wrap=True)
    return figure
