"""`hebae evaluate`: the same metrics for every run, stored with the run and shown side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from hebae.data import Dataset
from hebae.data.columns import listed
from hebae.data.conditions import LABEL
from hebae.errors import HebaeError, suggestion
from hebae.experiments.figures import (
    Drawn,
    Evaluated,
    code_maps,
    draw_evaluation,
    explore,
    samples_of,
)
from hebae.experiments.measure import applicable, feature_extractors, is_writable, measure
from hebae.experiments.metrics import Metric
from hebae.experiments.metrics.samples import SAMPLERS
from hebae.experiments.runner import ExperimentFolder
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.table import Columns, group_by_column, tabulate, whiteness_notes
from hebae.experiments.trained_run import (
    RunResult,
    choose_device,
    examples_of,
    open_runs,
)
from hebae.files import make_folder
from hebae.folders import clear
from hebae.report.page import Section
from hebae.report.tables import Table

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
# And for data of other kinds; {kind} is the most flexible sampler that was measured.
SUMMARIES = {
    "genotypes": (
        *("reconstruction.negative_log_likelihood", "elbo"),
        *("genotypes.frequencies.{kind}", "genotypes.linkage.{kind}"),
        *("genotypes.pca_coverage.{kind}", "genotypes.adversarial.{kind}"),
        *("imputation.model", "imputation.most_frequent", "imputation.pca"),
    ),
    "counts": (
        *("reconstruction.negative_log_likelihood", "elbo"),
        *("counts.means.{kind}", "counts.relation.{kind}"),
        *("counts.zeros.{kind}", "counts.library_sizes.{kind}"),
        *("labels.logistic_regression", "information.mutual"),
    ),
    "table": (
        *("reconstruction.negative_log_likelihood", "elbo"),
        *("table.marginals.{kind}", "table.association.{kind}"),
        *("table.utility.{kind}", "table.utility.training-examples"),
        *("table.nearer_to_training.{kind}", "table.copies.{kind}"),
    ),
}
SUMMARY_ROWS = 8


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
) -> tuple[Table, Drawn]:
    """Measure what is missing in ``evaluation.json`` of each run; tabulate and draw everything.

    Parameters
    ----------
    paths, data, data_dir
        See `open_runs`.
    metrics, settings, command
        See `hebae.experiments.measure.measure`.
    output : Path, optional
        Folder for the table, figures of all runs together, and ``report.html``. The measurements
        of runs whose folder cannot be written are stored here as well.
    pool_seeds : bool
        Whether runs that differ only in their seed share a column.
    notify, progress : callable
        Receive notes for the user, and a message before each step.

    Raises
    ------
    HebaeError
        Before anything is measured, if a run is not finished or cannot be written, or if data or
        settings do not allow a metric.
    """
    runs = open_runs(paths, data, data_dir)
    dataset = runs[0].dataset
    settings = _resolved(settings, dataset)
    choose_device(settings.device)
    runs = [replace(run, evaluation=settings) for run in runs]
    allowed = [applicable(run.open(), metrics) for run in runs]
    metrics = [metric for metric in metrics if any(metric in some for some in allowed)]
    names = {metric.name for metric in metrics}
    folder = None if output is None else ExperimentFolder(output, "evaluation")
    with nullcontext() if folder is None else folder.hold(resume=folder.mark.is_file()):
        stores = [_store(run.path, output) for run in runs]
        extractors = feature_extractors(
            dataset, metrics, settings, notify=notify, progress=progress
        )
        evaluated: dict[Path, Evaluated] = {}
        drawn: Drawn = {}
        for number, store in enumerate(stores):
            one = runs[number]
            run = one.open()

            def show(message: str, name: str = one.label) -> None:
                progress(f"{name}: {message}")

            found = measure(run, metrics, extractors, command=command, progress=show, store=store)
            runs[number] = one = replace(one, measurements=found)
            show("figures")
            sampled = run.has_images and any("samples" in metric.depends for metric in metrics)
            samples = samples_of(run, run.sampler_names) if sampled else {}
            shown = Evaluated(one, samples, run.z if "moments" in names else None)
            evaluated[one.path] = shown
            if store is None:
                drawn |= draw_evaluation({one.method: shown}, run.folder.figures)
        columns = group_by_column(runs, pool_seeds)
        table = _tabulate(columns)
        if folder is None:
            return table, drawn
        clear(folder.path, ("figures",))
        firsts = {label: group[0] for label, group in columns.items()}
        side_by_side = {label: evaluated[run.path] for label, run in firsts.items()}
        drawn = draw_evaluation(side_by_side, folder.figures)
        sections = _results(table, columns)
        if pool_seeds:
            text = "The table shows all seeds, the figures the first run of each column: "
            text += ", ".join(f"{label} {run.path.name}" for label, run in firsts.items()) + "."
            sections.append(Section("Figures", [text]))
        opened = {label: run.open() for label, run in firsts.items()}
        if "moments" not in names:  # whose figures have the map
            sections += code_maps(opened)
        sections += [*drawn.values(), *explore(opened.items()), *_explanations(columns)]
        content = {"table": table.records()}
        folder.publish(runs, table, table.title, sections, content, command)
        return table, drawn


def _store(path: Path, output: Path | None) -> Path | None:
    """Return where to store the measurements of a run whose folder cannot be written."""
    if is_writable(path):
        return None
    if output is None:
        raise HebaeError(
            f"{path} cannot be written, but an evaluation is stored in its run's folder; name "
            "another folder with --output, or make the run writable."
        )
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    store = output / "evaluations" / f"{path.resolve().name}-{digest}"
    make_folder(store)
    return store


def _resolved(settings: EvaluationSettings, dataset: Dataset) -> EvaluationSettings:
    """Choose split and target, and require enough examples."""
    split = settings.split or ("test" if dataset.test or not dataset.validation else "validation")
    count = len(examples_of(dataset, split))
    if count < FEWEST:
        raise HebaeError(
            f"the {split} split of {dataset.name} has {count} example(s); an evaluation needs at "
            f"least {FEWEST}."
        )
    changes = {"split": split, "target": _target(settings.target, dataset)}
    return settings.model_copy(update=changes)


def _target(target: str | None, dataset: Dataset) -> str | None:
    """Return the column to predict, by default the labels if they are a condition."""
    train = dataset.train
    conditions = tuple(column.name for column in train.condition_columns or ())
    names = (*(train.feature_names or ()), *conditions)
    if target is None:
        return LABEL if LABEL in conditions else None
    if target not in names:
        hint = suggestion(target, names)
        known = f"its columns are {listed(names)}" if names else "its columns have no names"
        labels = "" if train.labels is None else " Labels are generated only as a --condition."
        raise HebaeError(
            f"--target is {target!r}{hint}, but the model of {dataset.name} generates no such "
            f"column: {known}.{labels}"
        )
    return target


def _tabulate(columns: Columns) -> Table:
    runs = [run for group in columns.values() for run in group]
    dataset, split = runs[0].dataset, runs[0].split
    notes = []
    if any("@" in one.name for run in runs for one in run.measurements):
        notes.append(
            "Samples are means of p(x|z); the paper draws z from N(0, I). Distances of samples "
            "depend on the number of samples, shown as [features@samples/references]."
        )
    if any(run.measurement("objective") for run in runs):
        notes.append("Each method has its own objective: objectives are not comparable.")
    count = len(examples_of(dataset, split))
    title = f"{dataset.name}: {count:,} {split} examples"
    return tabulate(columns, title, [*notes, *whiteness_notes(columns)])


def _results(table: Table, columns: Columns) -> list[Section]:
    """Return the table; a long one is folded behind its most important rows."""
    runs = [run for group in columns.values() for run in group]
    chosen = _summary(runs)
    ids = [id for id in chosen if any(run.measurement(id) for run in runs)][:SUMMARY_ROWS]
    if len(table.rows) <= SUMMARY_ROWS or not ids:
        return [Section("Results", [table])]
    summary = tabulate(columns, table.title, ids=ids)
    return [
        Section("Results", [replace(summary, notes=table.notes)]),
        Section(f"All {len(table.rows)} rows", [replace(table, notes=())], folded=True),
    ]


def _summary(runs: Sequence[RunResult]) -> Sequence[str]:
    """Return the ids of the rows that are shown first."""
    for ids in SUMMARIES.values():
        for kind in reversed(SAMPLERS):
            own = [id.format(kind=kind) for id in ids if "{kind}" in id]
            if any(run.measurement(id) for run in runs for id in own):
                return [id.format(kind=kind) for id in ids]
    return SUMMARY


def _explanations(columns: Columns) -> list[Section]:
    """Return what the metrics mean, and what is particular to single runs."""
    meanings: dict[str, str] = {}
    details: dict[str, list[str]] = {}
    for label, runs in columns.items():
        for run in runs:
            name = label if len(runs) == 1 else run.path.name
            for one in run.measurements:
                if one.headline and one.note:
                    meanings[one.name] = one.note
                if one.headline and one.detail:
                    details.setdefault(one.name, []).append(f"{name}: {one.detail}")
    joined = {name: "; ".join(parts) for name, parts in details.items()}
    contents = {"What the metrics mean": meanings, "Details of single runs": joined}
    return [Section(title, [facts], folded=True) for title, facts in contents.items() if facts]
