"""Evaluate runs: check everything, measure what is missing, draw and tabulate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae.data import Dataset
from hebae.errors import HebaeError, UndefinedMetric
from hebae.experiments.evaluation import output as folder
from hebae.experiments.evaluation.figures import draw_figures
from hebae.experiments.evaluation.judges import extractors_for
from hebae.experiments.evaluation.loop import Kept, measure
from hebae.experiments.evaluation.metrics import Metric
from hebae.experiments.evaluation.metrics.samples import SAMPLERS
from hebae.experiments.evaluation.runs import Run, group, open_runs
from hebae.experiments.evaluation.settings import EvaluationSettings
from hebae.experiments.evaluation.subject import Subject, examples_of
from hebae.experiments.evaluation.table import Column, tabulate
from hebae.experiments.gallery import Picture
from hebae.priors import NAMES
from hebae.report.tables import Table

__all__ = ["Evaluation", "evaluate"]

FEWEST = 10
"""Examples without which an evaluation would be noise."""
SHOWN = 24
"""Samples of each sampler in a picture."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation leaves."""

    table: Table
    figures: list[Picture]
    measured: int
    """Metrics that were measured now; the others had been kept."""


def evaluate(
    paths: Sequence[Path],
    metrics: Sequence[Metric],
    settings: EvaluationSettings,
    *,
    command: str,
    output: Path | None = None,
    pool_seeds: bool = False,
    data: str | None = None,
    data_dir: Path | None = None,
    told: Callable[[str], None] = lambda note: None,
    progress: Callable[[str], None] = lambda words: None,
) -> Evaluation:
    """Measure what is not kept yet, into ``evaluation.json`` of each run; tabulate all.

    Parameters
    ----------
    paths : sequence of Path
        Folders of finished runs, all trained on the same data.
    metrics : sequence of Metric
    settings : EvaluationSettings
    command : str
        For the provenance.
    output : Path, optional
        Folder for the table, figures of all runs together, and ``report.html``.
    pool_seeds : bool
        Let runs that differ in their seed alone share a column.
    data, data_dir : optional
        Where the runs' data are now, if they have moved.
    told, progress : callable
        Take notes for the user, and what is being done.

    Raises
    ------
    HebaeError
        Before anything is measured, if a run is not finished, or the data or the settings do not
        allow a metric.
    """
    runs, dataset = open_runs(paths, data, data_dir)
    settings = _resolved(settings, dataset)
    if output is not None:
        folder.require_free(output)
    judges = extractors_for(dataset, metrics, settings, told=told, progress=progress)
    columns = group(runs, pool_seeds)
    kept: dict[Path, Kept] = {}
    images: dict[str, dict[str, npt.NDArray[Any]]] = {}
    figures: list[Picture] = []
    of_samples = any("samples" in metric.depends for metric in metrics)
    judged_on = f"{dataset.name} {settings.split} examples"
    for label, members in columns.items():
        for run in members:
            subject = Subject(run.path, run.settings, dataset, settings)
            kept[run.path] = measure(
                subject,
                metrics,
                judges,
                command=command,
                progress=lambda words, run=run: progress(f"{run.name}: {words}"),
            )
            progress(f"{run.name}: figures")
            made = _samples(subject) if of_samples and subject.has_images else {}
            if made and run is members[0]:
                images[label] = made
            method = run.settings.method
            figures += draw_figures(
                {method: kept[run.path].by_metric},
                {method: made} if made else {},
                judged_on,
                subject.folder.figures,
            )
    table = _tabulate(columns, kept, dataset, settings)
    if output is not None:
        folder.clear_figures(output)
        first = {label: kept[members[0].path].by_metric for label, members in columns.items()}
        figures = draw_figures(first, images, judged_on, output / "figures")
        folder.write(
            output, table, figures, [kept[run.path] for run in runs], dataset, runs, command
        )
    return Evaluation(table, figures, sum(one.measured for one in kept.values()))


def _resolved(settings: EvaluationSettings, dataset: Dataset) -> EvaluationSettings:
    """Decide on split and samplers, and require that there are examples enough."""
    split = settings.split or ("test" if dataset.test or not dataset.validation else "validation")
    count = len(examples_of(dataset, split))
    if count < FEWEST:
        raise HebaeError(
            f"the {split} split of {dataset.name} has {count} example(s); an evaluation takes at "
            f"least {FEWEST}."
        )
    samplers = tuple(name for name in NAMES if name in (settings.samplers or NAMES))
    return settings.model_copy(update={"split": split, "samplers": samplers})


def _samples(subject: Subject) -> dict[str, npt.NDArray[Any]]:
    """Decode a few draws of each sampler; none if there is nothing to fit them to."""
    try:
        return {
            SAMPLERS[name]: np.clip(subject.shown(name, SHOWN), 0, 1)
            for name in subject.sampler_names
        }
    except UndefinedMetric:
        return {}


def _tabulate(
    columns: dict[str, list[Run]],
    kept: dict[Path, Kept],
    dataset: Dataset,
    settings: EvaluationSettings,
) -> Table:
    count = len(examples_of(dataset, settings.split))
    names = {m.name for one in kept.values() for ms in one.by_section.values() for m in ms}
    notes = []
    if any("@" in name for name in names):
        notes.append(
            "Samples are means of p(x|z); those from N(0, I) are the paper's. A distance of "
            "samples is biased by their number, so it bears it: [features@samples/references]."
        )
    if "objective" in names:
        notes.append("Objectives are each method's own: compare them with nothing.")
    return tabulate(
        [
            Column(
                label,
                members[0].settings.likelihood,
                [kept[run.path].by_section for run in members],
            )
            for label, members in columns.items()
        ],
        f"{dataset.name}: {count:,} {settings.split} examples",
        notes,
    )
