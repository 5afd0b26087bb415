"""What each latent dimension carries: its variance, and its divergence from the prior."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from hebae.errors import HebaeError
from hebae.report.methods import looks
from hebae.report.style import QUIET, describe, literal, styled

__all__ = ["DimensionBars", "dimension_bars"]

_LETTERS = 24
"""Of a line of words within axes."""


@dataclass(frozen=True)
class DimensionBars:
    """Of one model, a number a dimension.

    Parameters
    ----------
    variance_of_mean, variance_of_code : sequence of float, length k
        Of mu(x), and of z drawn from q(z | x).
    divergence : sequence of float, length k, or str
        Mean KL of q(z_j | x) to N(0, 1), in nats; or why there is none.
    """

    variance_of_mean: Sequence[float]
    variance_of_code: Sequence[float]
    divergence: Sequence[float] | str


@styled()
def dimension_bars(models: Mapping[str, DimensionBars], *, title: str = "") -> Figure:
    """Draw bars of each model's dimensions, those of the greatest variance of mu first.

    A posterior that has collapsed shows as a dimension whose means do not vary and whose KL is 0.
    A row has one scale for all models.

    Parameters
    ----------
    models : mapping of str to DimensionBars
        By method, or any name.
    title : str

    Raises
    ------
    HebaeError
        If no model is given.
    """
    if not models:
        raise HebaeError("there is nothing to draw: no model was given.")
    figure = Figure(
        figsize=(2.5 * len(models) + 1.0, 4.6), layout=ConstrainedLayoutEngine(h_pad=0.08)
    )
    grid = figure.subplots(2, len(models), squeeze=False, sharey="row", sharex="col")
    for column, (label, look) in enumerate(looks(models).items()):
        bars = models[label]
        order = np.argsort(bars.variance_of_mean)[::-1]
        place = np.arange(1, len(order) + 1)
        means, codes = (
            np.asarray(v)[order] for v in (bars.variance_of_mean, bars.variance_of_code)
        )
        top, bottom = grid[:, column]
        top.bar(place, codes, width=0.8, color=look.colour, alpha=0.3, label="z")
        top.bar(place, means, width=0.8, color=look.colour, label="mean of q(z|x)")
        top.axhline(1, color=QUIET, linewidth=0.9, linestyle=(0, (4, 2)))
        describe(top, look.name, f"mean's: {means.min():.3g} to {means.max():.3g}")
        if isinstance(bars.divergence, str):
            bottom.annotate(
                "undefined:\n" + literal(textwrap.fill(bars.divergence, _LETTERS)),
                (0.5, 0.5),
                xycoords="axes fraction",
                ha="center",
                va="center",
                color=QUIET,
            )
        else:
            divergence = np.asarray(bars.divergence)[order]
            bottom.bar(place, divergence, width=0.8, color=look.colour)
            describe(bottom, "", f"{divergence.min():.3g} to {divergence.max():.3g}")
        bottom.set_xlabel("latent dimension, by variance")
        bottom.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    grid[0, 0].set_ylabel("variance\n(pale: of z; dashed: 1)")
    grid[1, 0].set_ylabel("mean KL to N(0, 1)\n(nats)")
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", wrap=True)
    return figure
