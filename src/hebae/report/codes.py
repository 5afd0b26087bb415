"""Figures of the codes: as points, by dimension, and their covariances and correlations."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from hebae.report.live import MOST_POINTS, half_width, plane
from hebae.report.methods import looks
from hebae.report.style import QUIET, SEQUENTIAL, add_legend, describe, literal, new_figure, styled

_SIGNED = "RdBu_r"  # for values of both signs: white is 0, so the scale is symmetric
_UNDEFINED = "#BFBFBF"  # grey: in neither half of the colour scale for signs
_LETTERS = 24  # per line of text within axes
_PRIOR: dict[str, Any] = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.2}
# Tol's "muted" palette and black: ten classes that the common kinds of colour vision tell apart.
_CLASS_COLOURS = (
    *("#332288", "#CC6677", "#117733", "#88CCEE", "#DDCC77"),
    *("#AA4499", "#44AA99", "#882255", "#999933", "#000000"),
)
_CLASS_MARKERS = "o^svD"


@styled()
def code_points(
    codes: Mapping[str, ArrayLike], labels: ArrayLike | None = None, *, title: str = ""
) -> Figure:
    """Draw codes as points, coloured by label, with the circles of N(0, I).

    For k = 2 the axes are the two latent dimensions; for k > 2 the first two principal components
    of each model's codes; for k = 1 the second axis is random. The circles hold 50 % and 95 % of
    N(0, I) in the plane. Of each array of codes (n, k), at most 3,000 are drawn, spread evenly over
    the n; `labels` (n,) are integers.
    """
    down = 1 if len(codes) < 4 else 2
    across = max(1, math.ceil(len(codes) / down))
    size = max(5.0, 3.3 * across + 0.5), 3.5 * down + 0.9
    figure = new_figure(*size, codes, title, h_pad=0.12)
    classes = np.unique(np.asarray(labels if labels is not None else [], np.int64))
    colours, markers = cycle(_CLASS_COLOURS), cycle(_CLASS_MARKERS)
    styles: list[dict[str, Any]] = [
        {"color": colour, "marker": marker}
        for _, colour, marker in zip(classes, colours, markers, strict=False)
    ]
    grid = figure.subplots(down, across, squeeze=False).flat
    for axes in grid[len(codes) :]:
        axes.set_axis_off()
    for axes, (label, look) in zip(grid, looks(codes).items(), strict=False):
        values = np.asarray(codes[label], np.float64)
        of_class = np.zeros(len(values)) if labels is None else np.asarray(labels)
        every, axis_names, note = plane(values)
        shown = np.unique(np.linspace(0, len(values) - 1, MOST_POINTS).astype(int))
        points, half = every[shown], half_width(every[shown])
        of_class = of_class[shown]
        if labels is None:
            axes.scatter(*points.T, color=look.colour, s=5, linewidths=0, alpha=0.7)
        for one, style in zip(classes, styles, strict=True):
            axes.scatter(*points[of_class == one].T, **style, s=5, linewidths=0, alpha=0.7)
        angle = np.linspace(0, 2 * np.pi, 200)
        for share in (0.5, 0.95):
            radius = np.sqrt(-2 * np.log(1 - share))
            axes.plot(radius * np.cos(angle), radius * np.sin(angle), **_PRIOR)
        outside = int((np.abs(every) > half).any(axis=1).sum())
        axes.set(xlim=(-half, half), ylim=(-half, half), aspect="equal")
        axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
        describe(axes, look.name, f"{note}; {outside} outside" if outside else note)
    handles = [
        Line2D([], [], linestyle="", label=str(one), **style)
        for one, style in zip(classes.tolist(), styles, strict=True)
    ]
    add_legend(figure, (), *handles, Line2D([], [], label="N(0, I): 50 % and 95 %", **_PRIOR))
    return figure


@styled()
def code_heatmaps(
    matrices: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str = ""
) -> Figure:
    """Draw absolute covariances and correlations of each method's codes (as in Fig. 2a).

    Each row has one colour scale for all methods. The diagonal of the correlations, which is always
    1, and undefined correlations (NaN: a dimension without variance) are grey.

    `matrices` are the covariance and the correlation matrix (k, k), by method.
    """
    arrays = {
        label: [np.asarray(matrix, np.float64) for matrix in pair]
        for label, pair in matrices.items()
    }
    size = 2.4 * len(arrays) + 1.1, 5.6
    figure = new_figure(*size, arrays, title, what="method", compress=True, w_pad=0.04)
    grid = figure.subplots(2, len(arrays), squeeze=False)

    # Codes that never vary would leave no colour scale.
    largest = max(np.abs(covariance).max() for covariance, _ in arrays.values()) or 1.0
    strengths = {}
    for label, (_, correlation) in arrays.items():
        values = np.abs(correlation[~np.eye(len(correlation), dtype=bool)])
        strengths[label] = values[np.isfinite(values)]
    strongest = max(values.max(initial=0.05) for values in strengths.values())
    signed = colormaps[_SIGNED].with_extremes(bad=_UNDEFINED)
    for (top, bottom), (label, look) in zip(grid.T, looks(arrays).items(), strict=True):
        covariance, correlation = arrays[label]
        k = len(covariance)
        # Dimensions are numbered from 1, as in all figures; a cell lies around its number.
        extent = (0.5, k + 0.5, k + 0.5, 0.5)
        upper = top.imshow(np.abs(covariance), vmin=0, vmax=largest, cmap=SEQUENTIAL, extent=extent)
        variances = np.diag(covariance)
        describe(top, look.name, f"variances {variances.min():.3g} to {variances.max():.3g}")
        shown = np.where(np.eye(k, dtype=bool), np.nan, correlation)
        lower = bottom.imshow(shown, vmin=-strongest, vmax=strongest, cmap=signed, extent=extent)
        values = strengths[label]
        mean = f"{values.mean():.3f}" if len(values) else "undefined"
        describe(bottom, "", f"mean |off-diagonal| {mean}")
        for axes in (top, bottom):
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_ticks(_dimension_ticks(k))
                axis.set_label_text("latent dimension")
            axes.label_outer()
    figure.colorbar(upper, ax=grid[0], label="|covariance|")
    figure.colorbar(lower, ax=grid[1], label="correlation\n(grey: diagonal, or undefined)")
    return figure


def _dimension_ticks(k: int) -> list[int]:
    """Return 1 and the multiples of a round step up to k."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, k) if k / s <= 5)
    return sorted({1, *range(step, k + 1, step)})


@styled()
def code_histograms(
    models: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]], *, title: str = ""
) -> Figure:
    """Draw a line per dimension, and the density of N(0, 1) over them.

    `models` gives, by method and then by quantity, such as the mean of q(z|x) and z, the edges
    (b + 1,) of b bins and the densities (k, b). Each quantity has a row; all methods have the same.
    """
    rows = list(dict.fromkeys(name for kinds in models.values() for name in kinds))
    figure = new_figure(2.5 * len(models) + 0.6, 1.9 * len(rows) + 0.9, rows, title)
    grid = figure.subplots(len(rows), len(models), squeeze=False, sharex=True, sharey="row")
    for column, (label, look) in zip(grid.T, looks(models).items(), strict=True):
        for axes, name in zip(column, rows, strict=True):
            edges, densities = map(np.asarray, models[label][name])
            opacity = max(0.15, min(0.8, 6 / len(densities)))
            for density in densities:
                axes.stairs(density, edges, color=look.colour, alpha=opacity, linewidth=1.0)
            z = np.linspace(edges[0], edges[-1], 200)
            axes.plot(z, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), **_PRIOR)
            # The peak of a collapsed dimension would flatten all other lines.
            axes.set_ylim(0, 1.2)
            beyond = int((densities.max(axis=1) > 1.2).sum())
            note = f"{beyond} of {len(densities)} dimensions exceed 1.2" if beyond else ""
            describe(axes, look.name if name == rows[0] else "", note)
        column[-1].set_xlabel("latent value (dashed: N(0, 1))")
    for axes, name in zip(grid[:, 0], rows, strict=True):
        axes.set_ylabel(f"density of {name}")
    return figure


@styled()
def dimension_bars(
    models: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike | str]], *, title: str = ""
) -> Figure:
    """Draw bars for each model's dimensions, in falling order of the variance of mu.

    `models` gives, by method, for each dimension the variance of mu(x), the variance of z drawn
    from q(z | x), and the mean KL of q(z_j | x) to N(0, 1) in nats, or why there is none.

    A collapsed dimension has means that do not vary, and a KL of 0. The panels of a row share
    their y axis.
    """
    figure = new_figure(2.5 * len(models) + 1.0, 4.6, models, title, w_pad=0.04)
    grid = figure.subplots(2, len(models), squeeze=False, sharey="row", sharex="col")
    for (top, bottom), (label, look) in zip(grid.T, looks(models).items(), strict=True):
        of_mean, of_code, divergence = models[label]
        order = np.argsort(of_mean)[::-1]
        place = np.arange(1, len(order) + 1)
        means = np.asarray(of_mean)[order]
        top.bar(place, np.asarray(of_code)[order], color=look.colour, alpha=0.3)
        top.bar(place, means, color=look.colour)
        top.axhline(1, color=QUIET, linewidth=0.9, linestyle=(0, (4, 2)))
        describe(top, look.name, f"variance of the mean: {means.min():.3g} to {means.max():.3g}")
        if isinstance(divergence, str):
            why = "undefined:\n" + literal(textwrap.fill(divergence, _LETTERS))
            centred = {"xycoords": "axes fraction", "ha": "center", "va": "center"}
            bottom.annotate(why, (0.5, 0.5), color=QUIET, **centred)
        else:
            nats = np.asarray(divergence)[order]
            bottom.bar(place, nats, color=look.colour)
            describe(bottom, "", f"{nats.min():.3g} to {nats.max():.3g}")
        bottom.set_xlabel("latent dimension, by variance")
        bottom.set_xticks(_dimension_ticks(len(order)))
    grid[0, 0].set_ylabel("variance\n(solid: mean, pale: z)")
    grid[1, 0].set_ylabel("mean KL to N(0, 1)\n(nats)")
    return figure
