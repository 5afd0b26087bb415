"""What a study leaves: JSON with everything, CSV, figures, and the page made from the JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from hebae.data import Dataset
from hebae.experiments.reproduction import pages
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.stored_tables import to_json
from hebae.experiments.reproduction.study import Findings, FinishedRun, Study
from hebae.files import make_folder, write_atomically
from hebae.provenance import provenance
from hebae.report import style
from hebae.report.tables import to_csv

__all__ = ["write"]

FACES = "faces"
"""Folder of the figures that may not be published."""


def write(
    folder: Path,
    study: Study,
    budget: Budget,
    runs: Sequence[FinishedRun],
    findings: Findings,
    datasets: Sequence[Dataset],
    command: str,
) -> Path:
    """Write the findings into `folder`, in place of earlier ones; return the page."""
    make_folder(folder)
    for drawing in findings.drawings:
        place = folder / FACES if drawing.shows_faces else folder
        make_folder(place)
        for suffix in ("png", "pdf"):
            style.save(drawing.figure, place / f"{drawing.name}.{suffix}")
    values = {
        "study": study.name,
        "title": study.title,
        "paper": study.paper,
        "budget": budget.name,
        "claims": [asdict(claim) for claim in findings.claims],
        "figures": [
            {name: getattr(d, name) for name in ("name", "title", "caption", "shows_faces")}
            for d in findings.drawings
        ],
        "tables": [to_json(table) for table in findings.tables],
        "notes": [*findings.notes, *_of_data(datasets), *_diverged(runs)],
        "deviations": list(study.deviations),
        "provenance": _provenance(budget, runs, datasets, command),
        "records": [dict(record) for record in findings.records],
    }
    texts = {
        "json": json.dumps(values, indent=1, allow_nan=False) + "\n",
        "csv": to_csv(findings.records),
    }
    for suffix, text in texts.items():
        path = folder / f"{study.name}.{suffix}"
        write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))
    pages.write(pages.rewrite(folder))  # the index too, with what other studies have left
    return folder / f"{study.name}.md"


def _of_data(datasets: Sequence[Dataset]) -> list[str]:
    """Say what the data have to say: that they are a subset, how they were split."""
    return [f"{dataset.name}: {note}" for dataset in datasets for note in dataset.notes]


def _diverged(runs: Sequence[FinishedRun]) -> list[str]:
    return [f"{run.path.name} diverged: {run.diverged}" for run in runs if run.diverged]


def _provenance(
    budget: Budget, runs: Sequence[FinishedRun], datasets: Sequence[Dataset], command: str
) -> dict[str, str]:
    """Say where the numbers come from: this command, and the trainings, which may be older."""
    settings = runs[0].planned.settings
    seeds = sorted({run.planned.settings.seed for run in runs})
    each = [provenance(command, dataset, settings, seeds) for dataset in datasets]
    origin = {"budget": budget.name, "runs": str(len(runs)), **each[0]}
    origin["data"] = "; ".join(one["data"] for one in each)
    origin["epochs"] = _all(str(run.planned.settings.epochs) for run in runs)
    trained = [entry for run in runs for entry in _entries(run)]
    origin["trained by commit"] = _all(entry["commit"] for entry in trained)
    origin["trained on"] = _all(entry["machine"] for entry in trained)
    return origin


def _entries(run: FinishedRun) -> list[dict[str, str]]:
    return list(json.loads((run.path / "provenance.json").read_text(encoding="utf-8")))


def _all(values: Any) -> str:
    return ", ".join(dict.fromkeys(values))
