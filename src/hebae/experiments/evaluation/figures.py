"""Figures of one run or several, from what is kept in their evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hebae.evaluation import latent
from hebae.experiments.evaluation.measurement import Measurement
from hebae.experiments.evaluation.metrics.code import DRAW, MEAN
from hebae.experiments.gallery import Picture
from hebae.files import make_folder
from hebae.report import style
from hebae.report.codes import (
    DimensionBars,
    Histograms,
    code_heatmaps,
    code_histograms,
    dimension_bars,
)
from hebae.report.images import sample_table
from hebae.report.lines import Convergence, annealing_convergence

__all__ = ["draw_figures"]

ACROSS = 8
"""Samples in a row of a mosaic."""
Kept = Mapping[str, Sequence[Measurement]]


def draw_figures(
    runs: Mapping[str, Kept],
    images: Mapping[str, Mapping[str, np.ndarray[Any, Any]]],
    data: str,
    folder: Path,
) -> list[Picture]:
    """Draw every figure that the measurements allow into `folder`, as PNG.

    Parameters
    ----------
    runs : mapping of str to (mapping of str to list of Measurement)
        By label, then by metric.
    images : mapping of str to (mapping of str to array (n, c, h, w))
        Samples by label and sampler; none if the data are no images.
    data : str
        What was judged on, in words.
    folder : Path
    """
    make_folder(folder)
    pictures: list[Picture] = []

    def keep(name: str, figure: Figure, title: str, caption: str) -> None:
        path = folder / f"{name}.png"
        style.save(figure, path)
        pictures.append(Picture(path, title, caption))

    if images:
        keep(
            "samples-by-sampler",
            sample_table(images, ACROSS, title="Samples, by the distribution that z is drawn from"),
            "Samples by sampler",
            "N(0, I) is the paper's way to sample; the others are fitted to the training codes.",
        )
    moments = {label: kept["moments"] for label, kept in runs.items() if "moments" in kept}
    if moments:
        for name, file in ((MEAN, "codes-of-mean"), (DRAW, "codes-of-z")):
            matrices = {label: _covariance(found, name) for label, found in moments.items()}
            keep(
                file,
                code_heatmaps(
                    {label: (C, latent.correlation(C)) for label, C in matrices.items()},
                    title=f"Covariance and correlation of {name}, {data}",
                ),
                f"Covariance and correlation of {name}",
                "Fig. 2a and b of the paper in form; for z by the law of total variance (Eq. 9).",
            )
        keep(
            "dimensions",
            dimension_bars(
                {label: _bars(found) for label, found in moments.items()},
                title=f"What each latent dimension carries, {data}",
            ),
            "Variance and KL by dimension",
            "A collapsed dimension has means that do not vary, and a KL of 0.",
        )
        keep(
            "code-histograms",
            code_histograms(
                {label: _histograms(found) for label, found in moments.items()},
                title=f"Distribution of the codes, {data}",
            ),
            "Codes against the normal density",
            "A line for each latent dimension.",
        )
    annealed = {label: kept["ais"] for label, kept in runs.items() if "ais" in kept}
    if annealed:
        keep(
            "annealing",
            annealing_convergence(
                {label: _convergence(found) for label, found in annealed.items()},
                title=f"Annealed importance sampling, {data}",
            ),
            "Convergence of annealed importance sampling",
            "A bound that no longer grows, and a gap near 0, say that log p(x) is known.",
        )
    return pictures


def _arrays(found: Sequence[Measurement], holding: str, name: str = "") -> Mapping[str, Any]:
    return next(m.arrays for m in found if holding in m.arrays and m.name.endswith(name))


def _covariance(found: Sequence[Measurement], name: str) -> np.ndarray[Any, Any]:
    return np.asarray(_arrays(found, "covariance", f" of {name}")["covariance"])


def _bars(found: Sequence[Measurement]) -> DimensionBars:
    kl = next(m for m in found if m.name == "least KL of a dimension")
    return DimensionBars(
        np.diag(_covariance(found, MEAN)).tolist(),
        np.diag(_covariance(found, DRAW)).tolist(),
        kl.arrays["divergence"] if kl.value is not None else kl.undefined,
    )


def _histograms(found: Sequence[Measurement]) -> dict[str, Histograms]:
    kept = {name: _arrays(found, "densities", f" of {name}") for name in (MEAN, DRAW)}
    return {name: Histograms(a["edges"], a["densities"]) for name, a in kept.items()}


def _convergence(found: Sequence[Measurement]) -> Convergence:
    arrays = _arrays(found, "temperatures")
    return Convergence(arrays["temperatures"], arrays["lower"], arrays["gap"])
