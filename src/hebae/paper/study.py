"""What a study consists of: its runs, and the tables, figures and texts of its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hebae.experiments.measurement import Measurement, find, value_of
from hebae.experiments.table import Column, tabulate
from hebae.paper.budgets import Budget, PlannedRun
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
    """A run that was trained and measured, or that diverged.

    Parameters
    ----------
    planned : PlannedRun
    path : Path
    measurements : sequence of Measurement
        None if it diverged.
    open : callable
        Loads its model, codes and samples, for figures.
    diverged : str
        Why it has no result; "" if it has one.
    """

    planned: PlannedRun
    path: Path
    measurements: Sequence[Measurement]
    open: Callable[[], TrainedRun]
    diverged: str = ""

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.planned.settings.method

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
    """A figure of the paper, or a question of our own. Its texts are in ``studies.yaml``.

    Parameters
    ----------
    name : str
    plan : callable
        From a budget to the runs.
    metrics : sequence of str, or callable
        Names of metrics of ``hebae evaluate``, or a function from a budget and a run to them.
    conclude : callable
        From a budget and the measured runs to findings.
    evaluation : mapping
        Settings of the evaluation that differ from its defaults. The budget's take precedence.
    optional : tuple of str
        Data sets that the study can do without: where they are missing, their runs are left out.
    """

    name: str
    plan: Callable[[Budget], list[PlannedRun]]
    metrics: Sequence[str] | Callable[[Budget, PlannedRun], Sequence[str]]
    conclude: Callable[[Budget, Sequence[StudyRun]], Findings]
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    optional: tuple[str, ...] = ()

    def metrics_of(self, budget: Budget, run: PlannedRun) -> Sequence[str]:
        """Return the names of the metrics of a run."""
        return self.metrics(budget, run) if callable(self.metrics) else self.metrics


def table_of(
    columns: Mapping[str, Sequence[StudyRun]],
    title: str,
    notes: Sequence[str] = (),
    ids: Sequence[str] | None = None,
) -> Table:
    """Tabulate runs: one column per label, with the runs that differ only in their seed."""
    made = [
        Column(
            label,
            runs[0].planned.settings.likelihood,
            [run.measurements for run in runs if not run.diverged],
            sum(bool(run.diverged) for run in runs),
        )
        for label, runs in columns.items()
    ]
    return tabulate(made, title, notes, ids=dict.fromkeys(ids, "") if ids else None)


def records(runs: Sequence[StudyRun]) -> list[dict[str, Any]]:
    """Return the measurements and the objective of each epoch, one record each, for the CSV."""
    names = ("epoch", "id", "quantity", "value", "standard_error", "undefined")
    found = []
    for run in runs:
        s = run.planned.settings
        described = {
            "run": run.planned.label,
            "method": s.method,
            "k": s.latent_dim,
            "penalty_weight": s.penalty_weight,
            "rate_weight": s.rate_weight,
            "seed": s.seed,
        }
        numbers = [
            (epoch, "history.objective", "objective", value, None, "")
            for epoch, value in run.objectives.items()
        ]
        numbers += [
            (s.epochs, one.id, one.name, one.value, one.standard_error, one.undefined)
            for one in run.measurements
        ]
        found += [described | dict(zip(names, number, strict=True)) for number in numbers]
    return found
