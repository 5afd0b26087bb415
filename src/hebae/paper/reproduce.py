"""Studies from beginning to end: check everything, train, measure, conclude, write the results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.experiments.measure import feature_extractors, measure
from hebae.experiments.metrics import choose
from hebae.experiments.plan import prepare
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.trained_run import TrainedRun, load_dataset
from hebae.files import locked, make_folder, require_only, write_atomically
from hebae.paper import faces, page
from hebae.paper.budgets import Budget, PlannedRun, data_of, unique
from hebae.paper.study import STUDIES, Findings, Study, StudyRun, records
from hebae.provenance import provenance
from hebae.report import style
from hebae.report.tables import Measured, Table, Undefined, Value, to_csv
from hebae.samplers import NAMES
from hebae.training.many import Job, Watcher, train_all

RUNS, RESULTS, FACES = "runs", "results", "faces"
"""Folders: of the runs, of the results, and of figures that may not be published."""
Tell = Callable[[str], None]


def reproduce(
    studies: Sequence[Study],
    budget: Budget,
    output: Path,
    *,
    command: str,
    data_dir: Path | None = None,
    device: str = "auto",
    train_only: bool = False,
    watcher: Watcher | None = None,
    tell: Tell = lambda note: None,
    progress: Tell = lambda message: None,
) -> list[Path] | None:
    """Run studies, and return one page per study, or None if the training was interrupted.

    `output` gets ``runs/``, which the studies share, and ``results/``. Runs and measurements that
    it holds already are reused. `watcher` receives the progress of the training, `tell` notes for
    the user, and `progress` what is being done.

    Raises
    ------
    HebaeError
        Before any training, if data are missing, settings cannot work, another process uses
        `output`, or it holds anything else.
    """
    if output.is_dir():
        require_only(output, (RUNS, RESULTS))
    make_folder(output / RUNS, "--output")
    with locked(output):
        plans = {study.name: _plan(study, budget, data_dir, tell) for study in studies}
        runs = unique(run for plan in plans.values() for run in plan)
        progress(f"loading the data of {len(runs)} runs")
        place = {"device": device, "data_dir": data_dir}
        placed = [replace(run, settings=run.settings.replace(**place)) for run in runs]
        jobs = {job.label: job for job in prepare(placed, output / RUNS)}
        results = train_all(list(jobs.values()), command=command, watcher=watcher)
        if any(result.state == "interrupted" for result in results):
            return None
        pages = []
        for study in [] if train_only else studies:
            measured = [
                _measure(run, jobs[run.label], study, budget, device, command, progress)
                for run in plans[study.name]
            ]
            progress(f"{study.name}: figures and pages")
            datasets = [jobs[run.label].prepared.dataset for run in plans[study.name]]
            findings = study.conclude(budget, measured)
            used = list({dataset.name: dataset for dataset in datasets}.values())
            pages.append(write(output / RESULTS, study, budget, measured, findings, used, command))
        return pages


def evaluation_settings(
    study: Study, budget: Budget, run: PlannedRun, device: str = "auto"
) -> EvaluationSettings:
    """Return the settings of a run's evaluation: on test examples, with all samplers."""
    settings = {"split": "test", "samplers": NAMES, "device": device, **study.evaluation}
    if (features := faces.features(run)) is not None:
        settings["features"] = features
    return EvaluationSettings(**settings | dict(budget.evaluation))


def _plan(study: Study, budget: Budget, data_dir: Path | None, tell: Tell) -> list[PlannedRun]:
    """Return a study's runs, without those of optional data that are not found."""
    runs = unique(study.plan(budget))
    for name in study.optional:
        optional = [run for run in runs if data_of(run) == name]
        try:
            for run in optional[:1]:
                load_dataset(run.settings, data_dir=data_dir)
        except HebaeError as missing:
            tell(f"{study.name} leaves out {len(optional)} of its {len(runs)} runs: {missing}")
            runs = [run for run in runs if run not in optional]
    return runs


def _measure(
    run: PlannedRun,
    job: Job,
    study: Study,
    budget: Budget,
    device: str,
    command: str,
    progress: Tell,
) -> StudyRun:
    """Measure what ``evaluation.json`` of the run does not have yet."""
    settings = evaluation_settings(study, budget, run, device)
    open_run = partial(TrainedRun, job.path, job.prepared.dataset, settings)
    if job.folder.divergence.is_file():
        reason = job.folder.divergence.read_text(encoding="utf-8").strip()
        return StudyRun(run, job.path, [], open_run, reason)

    def report(message: str) -> None:
        progress(f"{study.name}: {run.label}: {message}")

    metrics = choose(study.metrics_of(budget, run))
    extractors = feature_extractors(job.prepared.dataset, metrics, settings, progress=report)
    found = measure(open_run(), metrics, extractors, command=command, progress=report)
    return StudyRun(run, job.path, found, open_run)


def write(
    folder: Path,
    study: Study,
    budget: Budget,
    runs: Sequence[StudyRun],
    findings: Findings,
    datasets: Sequence[Dataset],
    command: str,
) -> Path:
    """Write JSON, CSV, figures and page of a study into `folder`; return the page."""
    make_folder(folder)
    for drawing in findings.drawings:
        place = folder / FACES if drawing.shows_faces else folder
        make_folder(place)
        for suffix in ("png", "pdf"):
            style.save(drawing.figure, place / f"{drawing.name}.{suffix}")
    statements = findings.statements
    if budget.is_smoke:
        statements = [replace(statement, verdict="") for statement in statements]
    diverged = [f"{run.path.name} diverged: {run.diverged}" for run in runs if run.diverged]
    about_data = [f"{dataset.name}: {note}" for dataset in datasets for note in dataset.notes]
    texts, rows = STUDIES[study.name], records(runs)
    shown = ("name", "title", "caption", "shows_faces")
    values = {
        "study": study.name,
        "title": texts["title"],
        "paper": texts["paper"],
        "budget": budget.name,
        "statements": [asdict(statement) for statement in statements],
        "figures": [{name: getattr(one, name) for name in shown} for one in findings.drawings],
        "tables": [table_to_json(table) for table in findings.tables],
        "notes": [*findings.notes, *about_data, *diverged],
        "deviations": texts["deviations"],
        "provenance": _provenance(budget, runs, datasets, command),
        "records": rows,
    }
    _write(folder / f"{study.name}.json", json.dumps(values, indent=1, allow_nan=False) + "\n")
    _write(folder / f"{study.name}.csv", to_csv(rows))
    _write(folder / f"{study.name}.md", page.page(values, findings.tables))
    _write(folder / "README.md", page.index(page.stored(folder)))
    return folder / f"{study.name}.md"


def table_to_json(table: Table) -> dict[str, Any]:
    """Return a table as JSON keeps it, with the number of every seed."""

    def encoded(value: Value) -> Any:
        if value is None or isinstance(value, str | Measured | Undefined):
            return value
        if isinstance(value, Iterable):
            return [encoded(v) for v in value]
        return float(value) if math.isfinite(value) else None

    rows = [replace(row, values=[encoded(v) for v in row.values]) for row in table.rows]
    return asdict(replace(table, rows=rows))


def _provenance(
    budget: Budget, runs: Sequence[StudyRun], datasets: Sequence[Dataset], command: str
) -> dict[str, str]:
    """Return where the numbers come from: this command, and the training, which may be older."""

    def each(values: Iterable[object]) -> str:
        return ", ".join(dict.fromkeys(map(str, values)))

    seeds = sorted({run.settings.seed for run in runs})
    origins = [provenance(command, d, runs[0].settings, seeds) for d in datasets]
    trained: list[dict[str, str]] = []
    for run in runs:
        trained += json.loads((run.path / "provenance.json").read_text(encoding="utf-8"))
    return {
        "budget": budget.name,
        "runs": str(len(runs)),
        **origins[0],
        "data": "; ".join(one["data"] for one in origins),
        "epochs": each(run.settings.epochs for run in runs),
        "trained by commit": each(entry["commit"] for entry in trained),
        "trained on": each(entry["machine"] for entry in trained),
    }


def _write(path: Path, text: str) -> None:
    write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))
