"""What a study consists of: its runs, and the tables, figures and texts of its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hebae.config import METHODS, Settings
from hebae.experiments.measurement import Measurement, find, value_of
from hebae.experiments.table import Column, tabulate
from hebae.paper.budgets import Budget, PlannedRun
from hebae.report.methods import display_name
from hebae.report.tables import Table
from hebae.storage import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hebae.experiments.trained_run import TrainedRun
    from hebae.paper.statements import Statement

STUDIES: dict[str, Any] = yaml.safe_load(
    files("hebae.paper").joinpath("studies.yaml").read_text("utf-8")
)
"""Titles, captions and notes of the studies, by name."""


@dataclass(frozen=True)
class StudyRun:
    """A run that was trained and measured, or that diverged."""

    planned: PlannedRun
    path: Path
    measurements: Sequence[Measurement]
    """None if it diverged."""
    open: Callable[[], TrainedRun]
    """Loads its model, codes and samples, for figures."""
    diverged: str = ""
    """Why it has no result; "" if it has one."""

    @property
    def settings(self) -> Settings:
        """The settings as planned."""
        return self.planned.settings

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.settings.method

    def value(self, id: str, features: str | None = None) -> float | None:
        """Return a measured value; None where it is undefined."""
        return value_of(self.measurements, id, features)

    def measurement(self, id: str, features: str | None = None) -> Measurement | None:
        """Return a measurement; None if there is none."""
        return find(self.measurements, id, features)

    @cached_property
    def objectives(self) -> dict[int, float]:
        """Held-out objective by epoch; {} if the run diverged."""
        if self.diverged:
            return {}
        held_out = {r["epoch"]: r.get("held_out") or {} for r in RunFolder(self.path).history()}
        return {e: t["objective"] for e, t in held_out.items() if t.get("objective") is not None}


@dataclass(frozen=True)
class Drawing:
    """A figure of a study. Figures that show faces are kept out of what may be published."""

    name: str
    figure: Figure
    title: str
    caption: str
    shows_faces: bool = False


@dataclass(frozen=True)
class Findings:
    """What follows from the runs of a study; `notes` are its limitations."""

    statements: Sequence[Statement]
    tables: Sequence[Table] = ()
    drawings: Sequence[Drawing] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Study:
    """A figure of the paper, or a question of our own. Its texts are in ``studies.yaml``."""

    name: str
    plan: Callable[[Budget], list[PlannedRun]]
    metrics: Sequence[str] | Callable[[Budget, PlannedRun], Sequence[str]]
    """Names of metrics of ``hebae evaluate``, or a function that returns them for a run."""
    conclude: Callable[[Budget, Sequence[StudyRun]], Findings]
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the evaluation that differ from its defaults. The budget's take precedence."""
    optional: tuple[str, ...] = ()
    """Data sets that the study can do without: where they are missing, their runs are left out."""

    def metrics_of(self, budget: Budget, run: PlannedRun) -> Sequence[str]:
        """Return the names of the metrics of a run."""
        return self.metrics(budget, run) if callable(self.metrics) else self.metrics


def by_method(runs: Sequence[StudyRun]) -> dict[str, list[StudyRun]]:
    """Group runs by method, in the order of `METHODS`."""
    groups = {method: [run for run in runs if run.method == method] for method in METHODS}
    return {method: group for method, group in groups.items() if group}


def method_columns(runs: Sequence[StudyRun]) -> dict[str, list[StudyRun]]:
    """Return one column of `table_of` per method."""
    return {display_name(method): group for method, group in by_method(runs).items()}


def table_of(
    columns: Mapping[str, Sequence[StudyRun]],
    title: str,
    notes: Sequence[str] = (),
    ids: Sequence[str] | None = None,
) -> Table:
    """Tabulate runs: one column per label, with the runs that differ only in their seed."""
    made = []
    for label, runs in columns.items():
        measured = [run.measurements for run in runs if not run.diverged]
        likelihood = runs[0].settings.likelihood
        made.append(Column(label, likelihood, measured, len(runs) - len(measured)))
    return tabulate(made, title, notes, ids=dict.fromkeys(ids, "") if ids else None)


def records(runs: Sequence[StudyRun]) -> list[dict[str, Any]]:
    """Return the measurements and the objective of each epoch, one record each, for the CSV."""
    found: list[dict[str, Any]] = []
    for run in runs:
        s = run.settings
        described = {
            "run": run.planned.label,
            "method": s.method,
            "k": s.latent_dim,
            "penalty_weight": s.penalty_weight,
            "rate_weight": s.rate_weight,
            "seed": s.seed,
        }
        by_epoch = [
            (epoch, Measurement(id="history.objective", name="objective", value=value))
            for epoch, value in run.objectives.items()
        ]
        found += [
            described
            | {
                "epoch": epoch,
                "id": one.id,
                "quantity": one.name,
                "value": one.value,
                "standard_error": one.standard_error,
                "undefined": one.undefined,
            }
            for epoch, one in [*by_epoch, *((s.epochs, one) for one in run.measurements)]
        ]
    return found
