"""Figures of the codes: as points, by dimension, and their covariances and correlations."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from hebae.errors import HebaeError
from hebae.report.methods import looks
from hebae.report.style import (
    QUIET,
    SEQUENTIAL,
    SIGNED,
    add_legend,
    add_title,
    describe,
    literal,
    new_figure,
    styled,
    whole_numbers,
)

_UNDEFINED = "#BFBFBF"  # grey: in neither half of the colour scale for signs
_LETTERS = 24  # per line of text within axes
_PRIOR = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.2}
# Tol's "muted" palette and black: ten classes that the common kinds of colour vision tell apart.
_CLASS_COLOURS = (
    *("#332288", "#CC6677", "#117733", "#88CCEE", "#DDCC77"),
    *("#AA4499", "#44AA99", "#882255", "#999933", "#000000"),
)
_CLASS_MARKERS = ("o", "^", "s", "v", "D")
_MOST_POINTS = 3000  # per model


@styled()
def code_points(
    codes: Mapping[str, ArrayLike],
    labels: ArrayLike | None = None,
    *,
    names: Mapping[int, str] | None = None,
    title: str = "",
) -> Figure:
    """Draw codes as points, coloured by label, with the circles of N(0, I).

    For k = 2 the axes are the two latent dimensions; for k = 1 the second one is random height;
    for k > 2 they are the first two principal components of the codes of each model. The circles
    hold 50 % and 95 % of N(0, I) in the plane.

    Parameters
    ----------
    codes : mapping of str to array (n, k)
        By method, or any name. At most 3,000 are drawn, spread evenly over the n.
    labels : array of int (n,), optional
        Class of each code.
    names : mapping of int to str, optional
        Names of the classes, for the legend; their numbers by default.
    title : str

    Raises
    ------
    HebaeError
        If no model is given, or codes and labels differ in number.
    """
    figure = new_figure(max(5.0, 3.3 * len(codes) + 0.5), 4.4, codes, h_pad=0.12)
    grid = figure.subplots(1, len(codes), squeeze=False)[0]
    classes: NDArray[Any] = np.unique(np.asarray(labels)) if labels is not None else np.array([])
    looks_of_class = [
        {
            "color": _CLASS_COLOURS[i % len(_CLASS_COLOURS)],
            "marker": _CLASS_MARKERS[i % len(_CLASS_MARKERS)],
        }
        for i in range(len(classes))
    ]
    for axes, (label, look) in zip(grid, looks(codes).items(), strict=True):
        values = np.asarray(codes[label], np.float64)
        if values.ndim != 2 or (labels is not None and len(np.asarray(labels)) != len(values)):
            raise HebaeError(
                f"The codes of {look.name} have shape {values.shape}: they must be (n, k), with "
                f"one label each{'' if labels is None else f' ({len(np.asarray(labels))} given)'}."
            )
        shown = np.unique(np.linspace(0, len(values) - 1, _MOST_POINTS).astype(int))
        plane, axis_names, note = _plane(values)
        points = plane[shown]
        style = {"s": 5, "linewidths": 0, "alpha": 0.7}
        if labels is None:
            axes.scatter(*points.T, color=look.colour, **style)
        else:
            # In the order of the examples, so that no class hides the others.
            of_class = np.searchsorted(classes, np.asarray(labels)[shown])
            for i, drawn_as in enumerate(looks_of_class):
                axes.scatter(*points[of_class == i].T, **drawn_as, **style)
        angle = np.linspace(0, 2 * np.pi, 200)
        for share in (0.5, 0.95):
            radius = np.sqrt(-2 * np.log(1 - share))
            axes.plot(radius * np.cos(angle), radius * np.sin(angle), **_PRIOR)
        half = max(2.7, np.quantile(np.abs(points), 0.998) * 1.05)
        outside = int((np.abs(plane) > half).any(axis=1).sum())
        note += f"; {outside} outside" if outside else ""
        axes.set(xlim=(-half, half), ylim=(-half, half), aspect="equal")
        axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
        describe(axes, look.name, note)
    handles = [
        Line2D([], [], linestyle="", label=literal((names or {}).get(int(one), str(one))), **style)
        for one, style in zip(classes, looks_of_class, strict=True)
    ]
    handles.append(Line2D([], [], label="N(0, I): 50 % and 95 %", **_PRIOR))
    add_legend(figure, handles)
    add_title(figure, title)
    return figure


def _plane(codes: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, str], str]:
    """Return codes in two dimensions, the names of these, and a note."""
    count, k = codes.shape
    number = f"{count:,} codes" if count <= _MOST_POINTS else f"{_MOST_POINTS:,} of {count:,} codes"
    if k == 1:
        height = np.random.default_rng(0).normal(size=(count, 1))
        return np.hstack([codes, height]), ("latent dimension 1", "random height"), number
    if k == 2:
        return codes, ("latent dimension 1", "latent dimension 2"), number
    mean = codes.mean(axis=0)
    _, sizes, directions = np.linalg.svd(codes - mean, full_matrices=False)
    # A direction has two signs; make its largest entry positive.
    largest = np.abs(directions[:2]).argmax(axis=1)
    directions = directions[:2] * np.sign(directions[[0, 1], largest])[:, None]
    share = (sizes[:2] ** 2).sum() / max((sizes**2).sum(), 1e-300)
    names = ("principal component 1", "principal component 2")
    # Not centred, so that a mean other than 0 shows against the circles.
    return codes @ directions.T, names, f"{number}; {share:.0%} of their variance"


@styled()
def code_heatmaps(
    matrices: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str = ""
) -> Figure:
    """Draw absolute covariances and correlations of each method's codes (as in Fig. 2a).

    Each row has one colour scale for all methods. The diagonal of the correlations, which is always
    1, and undefined correlations (NaN: a dimension without variance) are grey.

    Parameters
    ----------
    matrices : mapping of str to (array (k, k), array (k, k))
        Covariance and correlation matrix, by method.
    title : str

    Raises
    ------
    HebaeError
        If the two are not square and of one size, or no method is given.
    """
    arrays = {}
    for label, pair in matrices.items():
        covariance, correlation = (np.asarray(matrix, np.float64) for matrix in pair)
        shape = covariance.shape
        if len(shape) != 2 or shape[0] != shape[1] or correlation.shape != shape:
            raise HebaeError(
                f"The covariance and correlation of {label} are {shape} and {correlation.shape}; "
                "both must be (k, k)."
            )
        arrays[label] = covariance, correlation
    figure = new_figure(2.4 * len(arrays) + 1.1, 5.6, arrays, "method", compress=True, w_pad=0.04)
    grid = figure.subplots(2, len(arrays), squeeze=False)

    # Codes that never vary would leave no colour scale.
    largest = max(np.abs(covariance).max() for covariance, _ in arrays.values()) or 1.0
    strengths = {label: _off_diagonal(correlation) for label, (_, correlation) in arrays.items()}
    strongest = max(values.max(initial=0.05) for values in strengths.values())
    signed = colormaps[SIGNED].with_extremes(bad=_UNDEFINED)
    for (top, bottom), (label, look) in zip(grid.T, looks(arrays).items(), strict=True):
        covariance, correlation = arrays[label]
        k = len(covariance)
        # Dimensions are numbered from 1, as in all figures; a cell lies around its number.
        place: dict[str, Any] = {"extent": (0.5, k + 0.5, k + 0.5, 0.5)}
        upper = top.imshow(np.abs(covariance), vmin=0, vmax=largest, cmap=SEQUENTIAL, **place)
        variances = np.diag(covariance)
        describe(top, look.name, f"variances {variances.min():.3g} to {variances.max():.3g}")
        shown = np.where(np.eye(k, dtype=bool), np.nan, correlation)
        lower = bottom.imshow(shown, vmin=-strongest, vmax=strongest, cmap=signed, **place)
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
    add_title(figure, title)
    return figure


def _off_diagonal(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the absolute correlations between two dimensions, where defined."""
    values = np.abs(correlation[~np.eye(len(correlation), dtype=bool)])
    return values[np.isfinite(values)]


def _dimension_ticks(k: int) -> list[int]:
    """Return 1 and the multiples of a round step up to k."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, k) if k / s <= 5)
    return sorted({1, *range(step, k + 1, step)})


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
    """Draw a line per dimension, and the density of N(0, 1) over them.

    Parameters
    ----------
    models : mapping of str to (mapping of str to Histograms)
        By method, then by quantity, such as the mean of q(z|x) and z. Each quantity has a row,
        and all methods have the same quantities.
    title : str

    Raises
    ------
    HebaeError
        If no model is given.
    """
    rows = list(dict.fromkeys(name for kinds in models.values() for name in kinds))
    figure = new_figure(2.5 * len(models) + 0.6, 1.9 * len(rows) + 0.9, rows)
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
                axes.plot(z, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), **_PRIOR)
                # The peak of a collapsed dimension would flatten all other lines.
                axes.set_ylim(0, 1.2)
                beyond = int((densities.max(axis=1) > 1.2).sum())
                note = f"{beyond} of {len(densities)} dimensions exceed 1.2" if beyond else ""
                describe(axes, look.name if row == 0 else "", note)
            if column == 0:
                axes.set_ylabel(f"density of {name}")
        grid[-1, column].set_xlabel("latent value (dashed: N(0, 1))")
    add_title(figure, title)
    return figure


@dataclass(frozen=True)
class DimensionBars:
    """One number per latent dimension of a model.

    Parameters
    ----------
    variance_of_mean, variance_of_code : sequence of float, length k
        Variance of mu(x), and of z drawn from q(z | x).
    divergence : sequence of float, length k, or str
        Mean KL of q(z_j | x) to N(0, 1) in nats, or why there is none.
    """

    variance_of_mean: Sequence[float]
    variance_of_code: Sequence[float]
    divergence: Sequence[float] | str


@styled()
def dimension_bars(models: Mapping[str, DimensionBars], *, title: str = "") -> Figure:
    """Draw bars for each model's dimensions, in falling order of the variance of mu.

    A collapsed dimension has means that do not vary, and a KL of 0. The panels of a row share
    their y axis.

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
    figure = new_figure(2.5 * len(models) + 1.0, 4.6, models, w_pad=0.04)
    grid = figure.subplots(2, len(models), squeeze=False, sharey="row", sharex="col")
    for (top, bottom), (label, look) in zip(grid.T, looks(models).items(), strict=True):
        bars = models[label]
        order = np.argsort(bars.variance_of_mean)[::-1]
        place = np.arange(1, len(order) + 1)
        means, codes = (
            np.asarray(v)[order] for v in (bars.variance_of_mean, bars.variance_of_code)
        )
        top.bar(place, codes, width=0.8, color=look.colour, alpha=0.3)
        top.bar(place, means, width=0.8, color=look.colour)
        top.axhline(1, color=QUIET, linewidth=0.9, linestyle=(0, (4, 2)))
        describe(top, look.name, f"variance of the mean: {means.min():.3g} to {means.max():.3g}")
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
        whole_numbers(bottom.xaxis)
        bottom.set_xticks(_dimension_ticks(len(order)))
    grid[0, 0].set_ylabel("variance\n(solid: mean, pale: z)")
    grid[1, 0].set_ylabel("mean KL to N(0, 1)\n(nats)")
    add_title(figure, title)
    return figure
