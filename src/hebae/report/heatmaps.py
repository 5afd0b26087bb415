"""Covariance and correlation matrices of codes, as in Fig. 2a of the paper."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from hebae.errors import HebaeError
from hebae.report.methods import looks
from hebae.report.style import SEQUENTIAL, SIGNED, describe, literal, styled

__all__ = ["code_heatmaps"]

_NEITHER = "#BFBFBF"  # no colour of the scale of signs


@styled()
def code_heatmaps(
    matrices: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str = ""
) -> Figure:
    """Draw the size of the covariances, and the correlations, of each method's codes.

    A row has one scale of colours for all methods. A correlation of a dimension with itself, which
    is always 1, and one that is undefined (NaN: a dimension without variance) are grey.

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
    arrays = {label: _checked(label, *pair) for label, pair in matrices.items()}
    if not arrays:
        raise HebaeError("there is nothing to draw: no method was given.")
    figure = Figure(
        figsize=(2.4 * len(arrays) + 1.1, 5.6),
        layout=ConstrainedLayoutEngine(compress=True, h_pad=0.08),
    )
    grid = figure.subplots(2, len(arrays), squeeze=False)

    # Codes that never vary would leave no scale of colours.
    largest = max(np.abs(covariance).max() for covariance, _ in arrays.values()) or 1.0
    strengths = [_strengths(correlation) for _, correlation in arrays.values()]
    strongest = max(values.max(initial=0.05) for values in strengths)
    signed = colormaps[SIGNED].with_extremes(bad=_NEITHER)
    for column, (label, look) in enumerate(looks(arrays).items()):
        covariance, correlation = arrays[label]
        top, bottom = grid[:, column]
        upper = top.imshow(np.abs(covariance), vmin=0, vmax=largest, cmap=SEQUENTIAL)
        variances = np.diag(covariance)
        describe(top, look.name, f"variances {variances.min():.3g} to {variances.max():.3g}")
        shown = np.where(np.eye(len(correlation), dtype=bool), np.nan, correlation)
        lower = bottom.imshow(shown, vmin=-strongest, vmax=strongest, cmap=signed)
        describe(bottom, "", f"mean |off-diagonal| {_mean(strengths[column])}")
        for axes in (top, bottom):
            _name_axes(axes)
    figure.colorbar(upper, ax=grid[0], label="|covariance|")
    figure.colorbar(lower, ax=grid[1], label="correlation\n(grey: diagonal, or undefined)")
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", wrap=True)
    return figure


def _checked(
    label: str, covariance: ArrayLike, correlation: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pair = np.asarray(covariance, np.float64), np.asarray(correlation, np.float64)
    shape = pair[0].shape
    if len(shape) != 2 or shape[0] != shape[1] or pair[1].shape != shape:
        raise HebaeError(
            f"covariance and correlation of {label} are {shape} and {pair[1].shape}; both must be "
            "(k, k)."
        )
    return pair


def _strengths(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Absolute values of the correlations between two dimensions, where defined."""
    values = np.abs(correlation[~np.eye(len(correlation), dtype=bool)])
    return values[np.isfinite(values)]


def _mean(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3f}" if len(values) else "undefined"


def _name_axes(axes: Axes) -> None:
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(
            MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        )
        axis.set_label_text("latent dimension")
    axes.label_outer()
