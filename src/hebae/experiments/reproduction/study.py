"""What a study is: its runs, what is measured of them, and what follows from the numbers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hebae.experiments.evaluation.measurement import Measurement
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.report.tables import Table
from hebae.storage import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hebae.experiments.evaluation.loop import Kept
    from hebae.experiments.evaluation.subject import Subject

__all__ = [
    "Claim",
    "Drawing",
    "Findings",
    "FinishedRun",
    "Study",
    "Verdict",
    "Whose",
    "median",
    "verdict",
]

Verdict = Literal["holds", "holds in part", "does not hold", "cannot be told"]
Whose = Literal["paper", "aim", "ours"]


@dataclass(frozen=True)
class FinishedRun:
    """A run that was trained and measured, or that diverged.

    Parameters
    ----------
    planned : PlannedRun
    path : Path
    kept : Kept
        Its measurements; none if it diverged.
    subject : callable
        Opens its model, codes and samples, for pictures.
    diverged : str
        Why it has no result; "" if it has one.
    """

    planned: PlannedRun
    path: Path
    kept: Kept
    subject: Callable[[], Subject]
    diverged: str = ""

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.planned.settings.method

    def history(self) -> list[dict[str, Any]]:
        """Return the records of the epochs."""
        return RunFolder(self.path).history()

    def measurement(self, metric: str, words: str) -> Measurement | None:
        """Return the first measurement of a metric whose name holds `words`; None if diverged."""
        found = self.kept.by_metric.get(metric, ())
        return next((m for m in found if words in m.name), None)

    def value(self, metric: str, words: str) -> float | None:
        """Return its value; None where it is undefined."""
        found = self.measurement(metric, words)
        return None if found is None else found.value


@dataclass(frozen=True)
class Claim:
    """Something that was said, and what the numbers say of it.

    Parameters
    ----------
    key : str
        By which a page names its numbers.
    says : str
        The claim, in our words.
    found : str
        What came out, with ``{name:.2f}`` where a number of `numbers` stands.
    numbers : mapping of str to (float or None)
        None where a number does not exist.
    verdict : Verdict
    whose : Whose
        Who says it: the paper, an aim set beforehand, or ours, where the paper says nothing.
    """

    key: str
    says: str
    found: str
    numbers: Mapping[str, float | None]
    verdict: Verdict
    whose: Whose = "paper"


@dataclass(frozen=True)
class Drawing:
    """A figure of a study; `shows_faces` keeps it out of what may be published."""

    name: str
    figure: Figure
    title: str
    caption: str
    shows_faces: bool = False


@dataclass(frozen=True)
class Findings:
    """What follows from the runs of a study.

    Parameters
    ----------
    claims : sequence of Claim
    tables : sequence of Table
    records : sequence of flat mappings
        The numbers behind the figures, one a row of the CSV.
    drawings : sequence of Drawing
    notes : sequence of str
        What a reader must know: what was left out, and why.
    """

    claims: Sequence[Claim]
    tables: Sequence[Table]
    records: Sequence[Mapping[str, Any]]
    drawings: Sequence[Drawing]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Study:
    """A part of the paper, or a question of our own.

    Parameters
    ----------
    name, title : str
    paper : str
        What the paper did, and shows.
    plan : callable
        From a budget to the runs.
    measures : callable
        From a budget and a run to the names of metrics of ``hebae evaluate``.
    conclude : callable
        From a budget and the finished runs to findings.
    evaluation : mapping
        Settings of the evaluation that depart from its defaults; the budget's go over them.
    optional : tuple of str
        Data without which there is a study still: where they are not there, their runs are left
        out, and `conclude` gets none of them.
    deviations : tuple of str
        Keys of `hebae.experiments.reproduction.deviations.DEVIATIONS` that bear on it.
    """

    name: str
    title: str
    paper: str
    plan: Callable[[Budget], list[PlannedRun]]
    measures: Callable[[Budget, PlannedRun], Sequence[str]]
    conclude: Callable[[Budget, Sequence[FinishedRun]], Findings]
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()


def verdict(conditions: Iterable[bool | None]) -> Verdict:
    """Sum up a claim that is made of several cases; None: a case that has no numbers."""
    known = [condition for condition in conditions if condition is not None]
    if not known:
        return "cannot be told"
    if all(known):
        return "holds"
    return "holds in part" if any(known) else "does not hold"


def median(values: Iterable[float | None]) -> float | None:
    """Return the median over seeds of what exists; None if nothing does."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
