"""The figures of trained models, and those of their measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from hebae import inference
from hebae.errors import HebaeError
from hebae.evaluation import latent
from hebae.experiments.measurement import Measurement, find
from hebae.experiments.metrics.code import CODES
from hebae.experiments.metrics.samples import SAMPLERS
from hebae.experiments.trained_run import TrainedRun, load_dataset
from hebae.files import make_folder
from hebae.report import curves, images, style
from hebae.report.codes import (
    DimensionBars,
    code_heatmaps,
    code_histograms,
    code_points,
    dimension_bars,
)
from hebae.report.lines import Convergence, annealing_convergence
from hebae.report.methods import display_name
from hebae.storage import RunFolder

__all__ = ["Picture", "draw_measurements", "draw_models", "draw_run", "samples_of"]

ACROSS, DOWN = 8, 6  # samples per sampler of a comparison
PER_SAMPLER = 24  # of an evaluation
RECONSTRUCTIONS = 16
PAIRS, STEPS = 4, 11

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Picture:
    """A figure in a file, with its title and caption."""

    path: Path
    title: str
    caption: str


class _Folder:
    """Writes figures into a folder and remembers them."""

    def __init__(self, path: Path) -> None:
        make_folder(path)
        self.path = path
        self.pictures: list[Picture] = []

    def save(self, name: str, figure: Figure, title: str, caption: str) -> None:
        path = self.path / f"{name}.png"
        style.save(figure, path)
        self.pictures.append(Picture(path, title, caption))


def draw_models(
    runs: Mapping[str, TrainedRun],
    histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    folder: Path,
    *,
    samplers: Sequence[str] = ("normal",),
    note: str = "",
) -> list[Picture]:
    """Draw samples, reconstructions, interpolations, loss curves and codes, as the data allow.

    Parameters
    ----------
    runs : mapping of str to TrainedRun
        One model per label; all with the same data and split.
    histories : mapping of str to list of histories
        Records of ``metrics.jsonl`` by label, one list per seed.
    folder : Path
        Receives the PNG files.
    samplers : sequence of str
        Names of samplers to draw samples from.
    note : str
        Which models are drawn, for the captions of all figures but the loss curves.
    """
    target = _Folder(folder)
    first = next(iter(runs.values()))
    split, examples = first.split, first.examples
    models = {label: run.model for label, run in runs.items()}
    if first.has_images:
        drawn = {
            display_name(m): samples_of(run, samplers, ACROSS * DOWN) for m, run in runs.items()
        }
        common = [
            way for way in next(iter(drawn.values())) if all(way in s for s in drawn.values())
        ]
        by_way = {way: {label: found[way] for label, found in drawn.items()} for way in common}
        caption = (
            f"Means of p(x|z) for {ACROSS * DOWN} draws of z, not selected. N(0, I) is the prior, "
            "with the same draws for every method."
        )
        if SAMPLERS["mixture"] in by_way:
            caption += " The mixture of normals was fitted to the training codes."
        title = "Samples, by the distribution of z"
        target.save(
            "samples", images.sample_table(by_way, ACROSS, title=title), "Samples", caption + note
        )
        shown = examples.values[:RECONSTRUCTIONS]
        decoded = {label: inference.reconstruct(model, shown) for label, model in models.items()}
        originals = shown / 255 if shown.dtype == np.uint8 else shown
        title = f"Reconstructions of {split} examples"
        figure = images.reconstructions(originals, decoded, title=title)
        caption = (
            f"The first {len(shown)} {split} examples, encoded to the posterior mean and decoded."
        )
        target.save("reconstructions", figure, "Reconstructions", caption + note)
        if pairs := min(PAIRS, len(examples) // 2):
            ends = examples.values[0 : 2 * pairs : 2], examples.values[1 : 2 * pairs : 2]
            ways = {label: inference.interpolate(m, *ends, STEPS) for label, m in models.items()}
            figure = images.interpolations(ways, title=f"Interpolations between {split} examples")
            caption = (
                f"Straight lines between the codes of {pairs} pairs of {split} examples, decoded."
            )
            target.save("interpolations", figure, "Interpolations", caption + note)
    seeds = max(map(len, histories.values()))
    held_out = None if split == "train" else split
    title = f"Terms of the loss, {first.dataset.name}"
    caption = (
        "Per example, over the epochs. Each method has its own objective and penalty: they are not "
        "comparable between methods."
    )
    caption += f" Median and range over {seeds} seeds." if seeds > 1 else ""
    figure = curves.loss_curves(histories, held_out, title=title)
    target.save("loss-curves", figure, "Terms of the loss", caption)
    covariances = {label: latent.covariance(run.codes.mean) for label, run in runs.items()}
    title = "Covariance and correlation of the codes"
    caption = f"Posterior means of the {split} examples (compare Fig. 2a of the paper).{note}"
    target.save("codes", _heatmaps(covariances, f"{title}, {split} examples"), title, caption)
    codes = {label: run.z for label, run in runs.items()}
    _save_points(target, codes, examples.labels, f"{split} examples", note)
    return target.pictures


def draw_run(path: Path) -> list[Picture]:
    """Draw the figures of a finished run into its folder; none if it is not finished."""
    folder = RunFolder(path)
    if not folder.is_finished:
        return []
    settings = folder.settings()
    run = TrainedRun.held_out(path, load_dataset(settings), settings.device)
    return draw_models({settings.method: run}, {settings.method: [run.history]}, folder.figures)


def samples_of(
    run: TrainedRun, samplers: Sequence[str], count: int = PER_SAMPLER
) -> dict[str, Array]:
    """Decode draws of each sampler that can be fitted, by display name."""
    found = {}
    for name in samplers:
        try:
            found[SAMPLERS[name]] = np.clip(run.shown(name, count), 0, 1)
        except HebaeError:  # codes that do not vary, for example
            continue
    return found


def draw_measurements(
    runs: Mapping[str, Sequence[Measurement]],
    data: str,
    folder: Path,
    *,
    samples: Mapping[str, Mapping[str, Array]] | None = None,
    codes: Mapping[str, Array] | None = None,
    labels: Array | None = None,
) -> list[Picture]:
    """Draw every figure that the measurements allow.

    Parameters
    ----------
    runs : mapping of str to sequence of Measurement
        By label.
    data : str
        Data and split, for titles.
    folder : Path
        Receives the PNG files.
    samples : mapping of str to (mapping of str to array (n, c, h, w)), optional
        By label and sampler.
    codes : mapping of str to array (n, k), optional
        Draws z of q(z|x) by label.
    labels : array of int (n,), optional
        Classes of the examples.
    """
    target = _Folder(folder)
    if samples:
        figure = images.sample_table(samples, ACROSS, title="Samples, by the distribution of z")
        caption = (
            "N(0, I) is the paper's way to sample; the others are fitted to the training codes."
        )
        target.save("samples-by-sampler", figure, "Samples by sampler", caption)
    if codes:
        _save_points(target, codes, labels, data)
    moments = {label: found for label, run in runs.items() if (found := _moments(run))}
    if moments:
        for of in CODES:
            title = f"Covariance and correlation of {CODES[of]}"
            covariances = {
                m: np.asarray(one[of].arrays["covariance"]) for m, one in moments.items()
            }
            caption = (
                "Compare Fig. 2a and b of the paper; for z by the law of total variance (Eq. 9)."
            )
            figure = _heatmaps(covariances, f"{title}, {data}")
            target.save(f"codes-of-{of}", figure, title, caption)
        bars = {label: _bars(one, runs[label]) for label, one in moments.items()}
        figure = dimension_bars(bars, title=f"Variance and KL of each latent dimension, {data}")
        caption = "A collapsed dimension has means without variance and a KL of 0."
        target.save("dimensions", figure, "Variance and KL by dimension", caption)
        histograms = {
            label: {CODES[of]: (m.arrays["edges"], m.arrays["densities"]) for of, m in one.items()}
            for label, one in moments.items()
        }
        figure = code_histograms(histograms, title=f"Distribution of the codes, {data}")
        caption = "One line per latent dimension."
        target.save("code-histograms", figure, "Codes and the normal density", caption)
    annealed = {
        label: Convergence(*(one.arrays[name] for name in ("temperatures", "lower", "gap")))
        for label, run in runs.items()
        if (one := find(run, "ais")) is not None and "gap" in one.arrays
    }
    if annealed:
        title = "Convergence of annealed importance sampling"
        figure = annealing_convergence(annealed, title=f"{title}, {data}")
        caption = "log p(x) is known if the bound no longer grows and the gap is near 0."
        target.save("annealing", figure, title, caption)
    return target.pictures


def _save_points(
    target: _Folder, codes: Mapping[str, Array], labels: Array | None, data: str, note: str = ""
) -> None:
    caption = "One draw z of q(z|x) per example."
    if next(iter(codes.values())).shape[1] > 2:
        caption += " The first two principal components of the codes."
    if labels is not None:
        caption += " Coloured by label."
    figure = code_points(codes, labels, title=f"Codes z of {data}")
    target.save("code-points", figure, "Codes as points", caption + note)


def _heatmaps(covariances: Mapping[str, Array], title: str) -> Figure:
    matrices = {label: (C, latent.correlation(C)) for label, C in covariances.items()}
    return code_heatmaps(matrices, title=title)


def _moments(run: Sequence[Measurement]) -> dict[str, Measurement]:
    found = {of: find(run, f"moments.mean_abs_correlation.{of}") for of in CODES}
    return {of: one for of, one in found.items() if one is not None}


def _bars(moments: Mapping[str, Measurement], run: Sequence[Measurement]) -> DimensionBars:
    kl = find(run, "moments.least_kl")
    assert kl is not None
    of_mean, of_z = (np.diag(moments[of].arrays["covariance"]).tolist() for of in CODES)
    return DimensionBars(of_mean, of_z, kl.arrays["divergence"] if kl.arrays else kl.undefined)
