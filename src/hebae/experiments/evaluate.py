"""`hebae evaluate`: the same metrics for every run, stored with the run and shown side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.experiments.figures import Picture, draw_measurements, samples_by_sampler
from hebae.experiments.measure import feature_extractors, is_writable, measure
from hebae.experiments.measurement import Measurement
from hebae.experiments.metrics import Metric
from hebae.experiments.metrics.bounds import not_white
from hebae.experiments.runner import ExperimentFolder
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.table import Column, details, tabulate
from hebae.experiments.trained_run import (
    TrainedRun,
    choose_device,
    examples_of,
    group_by_column,
    open_runs,
)
from hebae.files import clear, make_folder
from hebae.priors import NAMES
from hebae.provenance import provenance
from hebae.report.page import Section
from hebae.report.tables import Table

__all__ = ["Evaluation", "evaluate"]

FEWEST = 10
"""Fewest examples for a meaningful evaluation."""
# The rows shown first on a page, where measured: one per question that most readers have.
SUMMARY = (
    "reconstruction.negative_log_likelihood",
    "elbo",
    "iwae.fitted_width",
    "ais",
    "frechet.normal",
    "frechet.mixture",
    "frechet.fitted-normal",
    "moments.mean_abs_correlation.z",
    "moments.kl_to_normal.z",
    "information.mutual",
    "labels.logistic_regression",
)
SUMMARY_ROWS = 8


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation."""

    table: Table
    figures: list[Picture]
    taken: int
    """Number of metrics that were measured now; the others were stored."""


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
    notify: Callable[[str], None] = lambda note: None,
    progress: Callable[[str], None] = lambda message: None,
) -> Evaluation:
    """Measure what is missing in ``evaluation.json`` of each run; tabulate and draw everything.

    Parameters
    ----------
    paths : sequence of Path
        Folders of finished runs, all trained on the same data.
    metrics : sequence of Metric
    settings : EvaluationSettings
    command : str
        For the provenance.
    output : Path, optional
        Folder for the table, figures of all runs together, and ``report.html``. The measurements
        of runs whose folder cannot be written are stored here as well.
    pool_seeds : bool
        Whether runs that differ only in their seed share a column.
    data, data_dir : optional
        Where the data are now, if they have moved.
    notify, progress : callable
        Receive notes for the user, and a message before each step.

    Raises
    ------
    HebaeError
        Before anything is measured, if a run is not finished or cannot be written, or if data or
        settings do not allow a metric.
    """
    runs, dataset = open_runs(paths, data, data_dir)
    settings = _resolved(settings, dataset)
    choose_device(settings.device)
    folder = None if output is None else ExperimentFolder(output, "evaluation")
    if folder is not None:
        folder.require_usable(resume=folder.mark.is_file(), overwrite=False)
        make_folder(folder.path, "--output")
    stores = {path: _store(path, output) for path in runs}
    extractors = feature_extractors(dataset, metrics, settings, notify=notify, progress=progress)
    columns = group_by_column(runs, pool_seeds)
    judged_on = f"{dataset.name} {settings.split} examples"
    chosen = {metric.name for metric in metrics}
    measured: dict[Path, list[Measurement]] = {}
    samples: dict[str, Mapping[str, Any]] = {}
    codes: dict[str, Any] = {}
    pictures: list[Picture] = []
    total = 0
    for label, members in columns.items():
        for path in members:
            run = TrainedRun(path, dataset, settings)
            name = path.resolve().name
            store = stores[path]
            measured[path], taken = measure(
                run,
                metrics,
                extractors,
                command=command,
                progress=lambda message, name=name: progress(f"{name}: {message}"),
                store=store,
            )
            total += taken
            progress(f"{name}: figures")
            drawn = samples_by_sampler(run) if _of_samples(metrics) and run.has_images else {}
            points = {label: run.z} if "moments" in chosen else {}
            if path == members[0]:
                samples |= {label: drawn} if drawn else {}
                codes |= points
            if store is None:
                method = run.settings.method
                pictures += draw_measurements(
                    {method: measured[path]},
                    judged_on,
                    run.folder.figures,
                    samples={method: drawn} if drawn else None,
                    codes={method: run.z} if points else None,
                    labels=run.examples.labels,
                )
    likelihoods = {label: runs[members[0]].likelihood for label, members in columns.items()}
    table = _tabulate(columns, likelihoods, measured, dataset, settings)
    if folder is None:
        return Evaluation(table, pictures, total)
    with folder.hold(resume=folder.mark.is_file(), overwrite=False):
        clear(folder.path, ("figures",))
        pictures = draw_measurements(
            {label: measured[members[0]] for label, members in columns.items()},
            judged_on,
            folder.figures,
            samples=samples,
            codes=codes,
            labels=examples_of(dataset, settings.split).labels,
        )
        seeds = [each.seed for each in runs.values()]
        origin = provenance(command, dataset, next(iter(runs.values())), seeds)
        origin["runs"] = ", ".join(path.resolve().name for path in runs)
        folder.write("evaluation.md", table.to_markdown())
        folder.write("evaluation.csv", table.to_csv())
        folder.write(folder.mark.name, {"provenance": origin, "table": table.records()})
        _write_page(folder, table, pictures, columns, likelihoods, measured, origin)
    return Evaluation(table, pictures, total)


def _store(path: Path, output: Path | None) -> Path | None:
    """Return where to store the measurements of a run whose folder cannot be written."""
    if is_writable(path):
        return None
    if output is None:
        raise HebaeError(
            f"{path} cannot be written, and an evaluation is stored in its run's folder; name "
            "another folder with --output, or make the run writable."
        )
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    store = output / "evaluations" / f"{path.resolve().name}-{digest}"
    make_folder(store)
    return store


def _of_samples(metrics: Sequence[Metric]) -> bool:
    return any("samples" in metric.depends for metric in metrics)


def _resolved(settings: EvaluationSettings, dataset: Dataset) -> EvaluationSettings:
    """Choose split and samplers, and require enough examples."""
    split = settings.split or ("test" if dataset.test or not dataset.validation else "validation")
    count = len(examples_of(dataset, split))
    if count < FEWEST:
        raise HebaeError(
            f"the {split} split of {dataset.name} has {count} example(s); an evaluation needs at "
            f"least {FEWEST}."
        )
    samplers = tuple(name for name in NAMES if name in (settings.samplers or NAMES))
    return settings.model_copy(update={"split": split, "samplers": samplers})


def _tabulate(
    columns: Mapping[str, Sequence[Path]],
    likelihoods: Mapping[str, str],
    measured: Mapping[Path, Sequence[Measurement]],
    dataset: Dataset,
    settings: EvaluationSettings,
) -> Table:
    every = [one for run in measured.values() for one in run]
    notes = []
    if any("@" in one.name for one in every):
        notes.append(
            "Samples are means of p(x|z); z from N(0, I) is the paper's way. Distances of samples "
            "depend on their number: [features@samples/references]."
        )
    if any(one.id == "objective" for one in every):
        notes.append("Each method has its own objective: not comparable between methods.")
    for label, members in columns.items():
        warnings = [w for path in members if (w := not_white(measured[path], settings.split or ""))]
        notes += [f"{label}: {warnings[0]}"] if warnings else []
    return tabulate(
        [
            Column(label, likelihoods[label], [measured[path] for path in members])
            for label, members in columns.items()
        ],
        f"{dataset.name}: {len(examples_of(dataset, settings.split)):,} {settings.split} examples",
        notes,
    )


def _write_page(
    folder: ExperimentFolder,
    table: Table,
    pictures: Sequence[Picture],
    columns: Mapping[str, Sequence[Path]],
    likelihoods: Mapping[str, str],
    measured: Mapping[Path, Sequence[Measurement]],
    origin: Mapping[str, str],
) -> None:
    """Write a page that begins with the most important rows; the whole table is folded."""
    every = [one for run in measured.values() for one in run]
    headlines = {one.id: one for one in every if one.headline}
    ids = {id: "" for id in SUMMARY if id in headlines}
    summary = table
    if len(table.rows) > SUMMARY_ROWS:
        summary = tabulate(
            [
                Column(label, likelihoods[label], [measured[path] for path in members])
                for label, members in columns.items()
            ],
            table.title,
            table.notes,
            ids=dict(list(ids.items())[:SUMMARY_ROWS]),
        )
    sections = [Section("Results", [summary])]
    if summary is not table:
        sections.append(Section(f"All {len(table.rows)} rows", [table], folded=True))
    seeds = any(len(members) > 1 for members in columns.values())
    if seeds:
        shown = ", ".join(f"{label}: {paths[0].name}" for label, paths in columns.items())
        sections.append(
            Section("Which run the figures show", [f"The first run of each column ({shown})."])
        )
    by_run = {
        (label if len(members) == 1 else path.name): measured[path]
        for label, members in columns.items()
        for path in members
    }
    folder.write_page(
        table.title,
        sections,
        pictures,
        Section(
            "What the metrics mean",
            [{one.name: one.note for one in headlines.values() if one.note}],
            folded=True,
        ),
        Section("Details of single runs", [details(by_run)], folded=True),
        Section("Provenance", [origin]),
    )
