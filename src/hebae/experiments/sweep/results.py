"""What became of each run of a sweep, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hebae.config import Settings
from hebae.errors import HebaeError
from hebae.experiments.measures import Measures, measure
from hebae.storage import load_model
from hebae.training.many import Result

__all__ = ["SweptRun", "collect"]


@dataclass(frozen=True)
class SweptRun:
    """A run of a sweep and what became of it."""

    label: str
    values: Mapping[str, Any]
    """By axis."""
    settings: Settings
    """As resolved for the data."""
    state: str
    """"finished" or "diverged"."""
    reason: str
    """Why it diverged."""
    measures: Measures | None
    """None unless it finished."""

    @property
    def method(self) -> str:
        """The method that was trained."""
        return self.settings.method


def collect(values: Mapping[str, Any], result: Result) -> SweptRun:
    """Measure a finished run; of a diverged one, keep the reason.

    Parameters
    ----------
    values : mapping of str to value
        By axis.
    result : Result
        Of a job that is over.

    Raises
    ------
    HebaeError
        If the run's files are damaged.
    """
    job = result.job
    measures = _measure(result) if result.state == "finished" else None
    settings = job.prepared.settings
    return SweptRun(job.label, values, settings, result.state, result.message, measures)


def _measure(result: Result) -> Measures:
    job = result.job
    history = job.folder.history()
    if not history:
        raise HebaeError(f"{job.folder.metrics} is missing or empty; remove {job.path}.")
    model, _ = load_model(job.path)
    return measure(model, job.prepared.settings, job.prepared.dataset, history[-1])
