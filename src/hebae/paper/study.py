"""What a study consists of: its runs, and the tables, figures and texts of its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from hebae.config import METHODS
from hebae.experiments.measurement import Measurement
from hebae.experiments.plan import PlannedRun
from hebae.experiments.trained_run import RunResult
from hebae.paper.budgets import Budget, Plan
from hebae.report.methods import display_name
from hebae.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hebae.paper.statements import Statement

STUDIES: dict[str, Any] = yaml.safe_load(
    files("hebae.paper").joinpath("studies.yaml").read_text("utf-8")
)
"""Titles, captions and notes of the studies, by name."""


Runs = Sequence[RunResult]
"""The runs of a study, trained and measured; some may have diverged."""


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
    plan: Callable[[Budget], Plan]
    metrics: Sequence[str] | Callable[[Budget, PlannedRun], Sequence[str]]
    """Names of metrics of ``hebae evaluate``, or a function that returns them for a run."""
    conclude: Callable[[Budget, Runs], Findings]
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the evaluation that differ from its defaults. The budget's take precedence."""
    optional: tuple[str, ...] = ()
    """Data sets that the study can do without: where they are missing, their runs are left out."""

    def metrics_of(self, budget: Budget, run: PlannedRun) -> Sequence[str]:
        """Return the names of the metrics of a run."""
        return self.metrics(budget, run) if callable(self.metrics) else self.metrics


def by_method(runs: Runs) -> dict[str, list[RunResult]]:
    """Group runs by method, in the order of `METHODS`."""
    groups = {method: [run for run in runs if run.method == method] for method in METHODS}
    return {method: group for method, group in groups.items() if group}


def headings(quantities: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the headings of rows of `tabulate` by id; the table adds the unit where it is nats."""
    return {
        one["id"]: f"{one['title']}, {one['note']}".removesuffix(", nats")
        for one in quantities.values()
    }


def method_columns(runs: Runs) -> dict[str, list[RunResult]]:
    """Return one column of `tabulate` per method."""
    return {display_name(method): group for method, group in by_method(runs).items()}


def records(runs: Runs) -> list[dict[str, Any]]:
    """Return the measurements and the objective of each epoch, one record each, for the CSV."""
    found: list[dict[str, Any]] = []
    for run in runs:
        s = run.settings
        described = {
            "run": run.label,
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
        for epoch, one in [*by_epoch, *((s.epochs, one) for one in run.measurements)]:
            about = {"epoch": epoch, "id": one.id, "quantity": one.name}
            numbers = {"value": one.value, "standard_error": one.standard_error}
            found.append({**described, **about, **numbers, "undefined": one.undefined})
    return found
