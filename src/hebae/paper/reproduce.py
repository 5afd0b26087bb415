"""Studies from beginning to end: check everything, train, measure, conclude, write the results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hebae.errors import HebaeError
from hebae.experiments.cluster import Cluster
from hebae.experiments.cluster_runs import measure_each
from hebae.experiments.figures import code_maps
from hebae.experiments.measure import evaluate_run, feature_extractors
from hebae.experiments.metrics import choose
from hebae.experiments.plan import PlannedRun, prepare
from hebae.experiments.runner import joint_provenance, train_runs
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.trained_run import RunResult, TrainedRun, load_dataset
from hebae.files import make_folder, write_text
from hebae.folders import locked, require_only
from hebae.paper import faces, page
from hebae.paper.budgets import Budget, Plan, data_of, unique
from hebae.paper.study import STUDIES, Findings, Runs, Study, records
from hebae.report import style
from hebae.report.page import Block, Picture, Section, write_page
from hebae.report.tables import Row, Table, to_csv
from hebae.samplers import NAMES
from hebae.training.many import Watcher

RUNS, RESULTS, FACES = "runs", "results", "faces"
"""Folders: of the runs, of the results, and of figures that may not be published."""
MOST_MAPS = 6
"""Runs per study whose codes are drawn in ``report.html``."""
Tell = Callable[[str], None]


def reproduce(
    studies: Sequence[Study],
    budget: Budget,
    output: Path,
    *,
    command: str,
    data_dir: Path | None = None,
    device: str = "auto",
    evaluation: Mapping[str, Any] | None = None,
    train_only: bool = False,
    watcher: Watcher | None = None,
    tell: Tell = lambda note: None,
    progress: Tell = lambda message: None,
    cluster: Cluster | None = None,
) -> list[Path] | None:
    """Run studies, and return one page per study, or None if that was interrupted.

    `output` gets ``runs/``, which the studies share, and ``results/``. Runs and measurements that
    it holds already are reused. `evaluation` holds settings of the evaluation that take precedence
    over those of studies and budget. `watcher` receives the progress of the training, `tell` notes
    for the user, and `progress` what is being done. Runs are trained and measured by tasks of
    `cluster`, if there is one.

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
        if evaluation and "features" in evaluation:
            for study in studies:
                for run in {data_of(run): run for run in plans[study.name]}.values():
                    feature_extractors(
                        load_dataset(run.settings, data_dir=data_dir),
                        choose(study.metrics_of(budget, run)),
                        evaluation_settings(study, budget, run, device, evaluation),
                        progress=progress,
                    )
        place = {"device": device, "data_dir": data_dir}
        placed = [replace(run, settings=run.settings.replace(**place)) for run in runs]
        jobs = prepare(placed, output / RUNS)
        trained = train_runs(placed, jobs, command=command, watcher=watcher, cluster=cluster)
        if trained is None:
            return None
        by_label = {run.label: run for run in trained}
        pages, maps = [], {}
        results = output / RESULTS
        for study in [] if train_only else studies:
            calls = [
                (
                    by_label[run.label],
                    partial(
                        evaluate_run,
                        metrics=choose(study.metrics_of(budget, run)),
                        settings=evaluation_settings(study, budget, run, device, evaluation or {}),
                        command=command,
                    ),
                )
                for run in plans[study.name]
            ]

            def report(message: str, name: str = study.name) -> None:
                progress(f"{name}: {message}")

            measured = measure_each(calls, report, cluster)
            if measured is None:
                return None
            progress(f"{study.name}: figures and pages")
            findings = study.conclude(budget, measured)
            pages.append(write(results, study, budget, measured, findings, command))
            maps[study.name] = _maps(measured)
        if pages:
            finished = page.stored(results)
            sections = [_section(results, one, maps.get(name)) for name, one in finished.items()]
            write_page(results / "report.html", "The paper, reproduced", sections)
        return pages


def evaluation_settings(
    study: Study,
    budget: Budget,
    run: PlannedRun,
    device: str = "auto",
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> EvaluationSettings:
    """Return the settings of a run's evaluation: on test examples, with all samplers.

    `changes` take precedence.
    """
    settings = {"split": "test", "samplers": NAMES, "device": device, **study.evaluation}
    if (features := faces.features(run)) is not None:
        settings["features"] = features
    return EvaluationSettings(**settings | dict(budget.evaluation) | dict(changes))


def _plan(study: Study, budget: Budget, data_dir: Path | None, tell: Tell) -> Plan:
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


def write(
    folder: Path,
    study: Study,
    budget: Budget,
    runs: Runs,
    findings: Findings,
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
    datasets = list({run.dataset.name: run.dataset for run in runs}.values())
    diverged = [f"{run.label} diverged: {run.reason}" for run in runs if run.diverged]
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
        "tables": [page.table_to_json(table) for table in findings.tables],
        "notes": [*findings.notes, *about_data, *diverged],
        "deviations": texts["deviations"],
        "provenance": {"budget": budget.name, **joint_provenance(command, datasets, runs)},
        "records": rows,
    }
    write_text(folder / f"{study.name}.json", json.dumps(values, indent=1, allow_nan=False) + "\n")
    write_text(folder / f"{study.name}.csv", to_csv(rows))
    write_text(folder / f"{study.name}.md", page.page(values, findings.tables))
    write_text(folder / "README.md", page.index(page.stored(folder)))
    return folder / f"{study.name}.md"


def _section(folder: Path, values: Mapping[str, Any], maps: Sequence[Block] | None) -> Section:
    """Return what ``report.html`` shows of a study, from the content of its JSON file.

    Figures that show faces are left out. `maps` are None if an earlier command made the study.
    """
    name, is_smoke = values["study"], values["budget"] == "smoke"
    blocks: list[Block] = [str(values["paper"])]
    rows = [
        Row(one["text"], [page.fill(one["result"], one["numbers"]), one["verdict"] or "–"])
        for one in values["statements"]
    ]
    if rows:
        notes = [" ".join(str(STUDIES["smoke"]).split())] if is_smoke else []
        blocks.append(Table("Statements", ["result", "verdict"], rows, notes))
    for one in values["figures"]:
        if one["shows_faces"]:
            blocks.append(
                f"{one['title']}: this figure shows photographs of people and is in {FACES}."
            )
        elif (drawn := folder / f"{one['name']}.png").exists():
            blocks.append(Picture(drawn.read_bytes(), one["title"], one["caption"]))
        else:
            blocks.append(f"{one['title']}: the file {drawn.name} is missing.")
    if maps is None:
        blocks.append(f"For a map of the codes, run `hebae reproduce {name}` again.")
    blocks += [*(maps or ()), *map(page.table_from_json, values["tables"]), *values["notes"]]
    blocks.append(values["provenance"])
    return Section(str(values["title"]), blocks)


def _maps(runs: Runs) -> list[Block]:
    """Return maps of the codes of a study's first runs."""
    finished = {run.label: run for run in runs if not run.diverged}
    some = dict(list(finished.items())[:MOST_MAPS])
    return [block for section in code_maps(_open(some)) for block in section.blocks]


def _open(runs: Mapping[str, RunResult]) -> dict[str, TrainedRun]:
    """Open those runs that have examples of one kind, as the first does."""
    opened = {label: run.open() for label, run in runs.items()}
    first = next(iter(opened.values()), None)
    return {
        label: run
        for label, run in opened.items()
        if first is not None and run.dataset.name == first.dataset.name
    }
