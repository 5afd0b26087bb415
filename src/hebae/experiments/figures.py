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
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.trained_run import TrainedRun, load_dataset
from hebae.files import make_folder
from hebae.report import curves, images, style
from hebae.report.codes import (
    DimensionBars,
    Histograms,
    code_heatmaps,
    code_histograms,
    code_points,
    dimension_bars,
)
from hebae.report.lines import Convergence, annealing_convergence
from hebae.report.methods import display_name
from hebae.storage import RunFolder

__all__ = ["Picture", "draw_measurements", "draw_models", "draw_run", "samples_by_sampler"]

SAMPLES_ACROSS, SAMPLES_DOWN = 8, 6
RECONSTRUCTIONS = 16
PAIRS, STEPS = 4, 11
PER_SAMPLER, ACROSS = 24, 8

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
        Which models are drawn, for captions; the loss curves are drawn from `histories`.
    """
    target = _Folder(folder)
    first = next(iter(runs.values()))
    split, examples = first.evaluation.split or "test", first.examples
    names = {label: display_name(label) for label in runs}
    if first.has_images:
        rows = _samples(runs, samplers)
        target.save(
            "samples",
            images.sample_table(
                {
                    SAMPLERS[name]: {names[label]: values for label, values in row.items()}
                    for name, row in rows.items()
                },
                SAMPLES_ACROSS,
                title="Samples, by the distribution of z",
            ),
            "Samples",
            f"Means of p(x|z) for {SAMPLES_ACROSS * SAMPLES_DOWN} draws of z, not selected. "
            "N(0, I) is the prior, with the same draws for every method."
            + (" The mixture of normals was fitted to the training codes." if len(rows) > 1 else "")
            + note,
        )
        shown = examples.values[:RECONSTRUCTIONS]
        target.save(
            "reconstructions",
            images.reconstructions(
                shown / 255 if shown.dtype == np.uint8 else shown,
                {label: inference.reconstruct(run.model, shown) for label, run in runs.items()},
                title=f"Reconstructions of {split} examples",
            ),
            "Reconstructions",
            f"The first {len(shown)} {split} examples, encoded to the posterior mean and decoded."
            + note,
        )
        pairs = min(PAIRS, len(examples) // 2)
        ends = examples.values[0 : 2 * pairs : 2], examples.values[1 : 2 * pairs : 2]
        if pairs:
            target.save(
                "interpolations",
                images.interpolations(
                    {
                        label: inference.interpolate(run.model, *ends, STEPS)
                        for label, run in runs.items()
                    },
                    title=f"Interpolations between {split} examples",
                ),
                "Interpolations",
                f"Straight lines between the codes of {pairs} pairs of {split} examples, decoded."
                + note,
            )
    held_out = None if split == "train" else split
    seeds = max(map(len, histories.values()))
    target.save(
        "loss-curves",
        curves.loss_curves(histories, held_out, title=f"Terms of the loss, {first.dataset.name}"),
        "Terms of the loss",
        "Per example, over the epochs. Each method has its own objective and penalty: they are not "
        "comparable between methods."
        + (f" Median and range over {seeds} seeds." if seeds > 1 else ""),
    )
    matrices = {
        label: (covariance, latent.correlation(covariance))
        for label, run in runs.items()
        for covariance in [latent.covariance(run.codes.mean)]
    }
    target.save(
        "codes",
        code_heatmaps(matrices, title=f"Covariance and correlation of the codes, {split} examples"),
        "Covariance and correlation of the codes",
        f"Posterior means of the {split} examples (compare Fig. 2a of the paper).{note}",
    )
    _save_points(
        target, {label: run.z for label, run in runs.items()}, examples.labels, split, note
    )
    return target.pictures


def samples_by_sampler(run: TrainedRun) -> dict[str, Array]:
    """Decode a few draws of each sampler of the evaluation, by display name."""
    rows = _samples({"": run}, run.sampler_names, PER_SAMPLER)
    return {SAMPLERS[name]: np.clip(row[""], 0, 1) for name, row in rows.items()}


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
        target.save(
            "samples-by-sampler",
            images.sample_table(samples, ACROSS, title="Samples, by the distribution of z"),
            "Samples by sampler",
            "N(0, I) is the paper's way to sample; the others are fitted to the training codes.",
        )
    if codes:
        _save_points(target, codes, labels, data)
    moments = {
        label: run
        for label, run in runs.items()
        if find(run, "moments.mean_abs_correlation.mean") is not None
    }
    if moments:
        for of, file in (("mean", "codes-of-mean"), ("z", "codes-of-z")):
            covariances = {label: _covariance(run, of) for label, run in moments.items()}
            target.save(
                file,
                code_heatmaps(
                    {label: (C, latent.correlation(C)) for label, C in covariances.items()},
                    title=f"Covariance and correlation of {CODES[of]}, {data}",
                ),
                f"Covariance and correlation of {CODES[of]}",
                "Compare Fig. 2a and b of the paper; for z by the law of total variance (Eq. 9).",
            )
        target.save(
            "dimensions",
            dimension_bars(
                {label: _bars(run) for label, run in moments.items()},
                title=f"Variance and KL of each latent dimension, {data}",
            ),
            "Variance and KL by dimension",
            "A collapsed dimension has means without variance and a KL of 0.",
        )
        target.save(
            "code-histograms",
            code_histograms(
                {label: _histograms(run) for label, run in moments.items()},
                title=f"Distribution of the codes, {data}",
            ),
            "Codes and the normal density",
            "One line per latent dimension.",
        )
    annealed = {
        label: Convergence(*(one.arrays[name] for name in ("temperatures", "lower", "gap")))
        for label, run in runs.items()
        if (one := find(run, "ais")) is not None and "gap" in one.arrays
    }
    if annealed:
        target.save(
            "annealing",
            annealing_convergence(annealed, title=f"Annealed importance sampling, {data}"),
            "Convergence of annealed importance sampling",
            "log p(x) is known if the bound no longer grows and the gap is near 0.",
        )
    return target.pictures


def _samples(
    runs: Mapping[str, TrainedRun],
    samplers: Sequence[str],
    count: int = SAMPLES_ACROSS * SAMPLES_DOWN,
) -> dict[str, dict[str, Array]]:
    """Decode draws by sampler and label; only of samplers that can be fitted for every run."""
    found = {}
    for name in samplers:
        try:
            found[name] = {label: run.shown(name, count) for label, run in runs.items()}
        except HebaeError:  # codes that do not vary, for example
            continue
    return found


def _save_points(
    target: _Folder, codes: Mapping[str, Array], labels: Array | None, data: str, note: str = ""
) -> None:
    k = next(iter(codes.values())).shape[1]
    plane = "The first two principal components of the codes." if k > 2 else ""
    colour = "Coloured by label." if labels is not None else ""
    caption = f"One draw z of q(z|x) per example. {plane} {colour}"
    target.save(
        "code-points",
        code_points(codes, labels, title=f"Codes z of the {data} examples"),
        "Codes as points",
        " ".join(caption.split()) + note,
    )


def _covariance(run: Sequence[Measurement], of: str) -> Array:
    one = find(run, f"moments.mean_abs_correlation.{of}")
    assert one is not None
    return np.asarray(one.arrays["covariance"])


def _bars(run: Sequence[Measurement]) -> DimensionBars:
    kl = find(run, "moments.least_kl")
    assert kl is not None
    return DimensionBars(
        np.diag(_covariance(run, "mean")).tolist(),
        np.diag(_covariance(run, "z")).tolist(),
        kl.arrays["divergence"] if kl.value is not None else kl.undefined,
    )


def _histograms(run: Sequence[Measurement]) -> dict[str, Histograms]:
    found = {of: find(run, f"moments.mean_abs_correlation.{of}") for of in CODES}
    return {
        CODES[of]: Histograms(one.arrays["edges"], one.arrays["densities"])
        for of, one in found.items()
        if one is not None
    }


def draw_run(path: Path) -> list[Picture]:
    """Draw the figures of a finished run into its folder; none if it is not finished."""
    folder = RunFolder(path)
    if not folder.is_finished:
        return []
    settings = folder.settings()
    dataset = load_dataset(settings)
    split, _ = dataset.held_out() or ("train", None)
    run = TrainedRun(path, dataset, EvaluationSettings(split=split, device=settings.device))
    return draw_models({settings.method: run}, {settings.method: [run.history]}, folder.figures)
