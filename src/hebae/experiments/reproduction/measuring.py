"""Measure what is missing of a study's runs, by the machinery of ``hebae evaluate``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hebae.config import Settings
from hebae.data import Dataset
from hebae.experiments.evaluation.loop import Kept, measure
from hebae.experiments.evaluation.metrics import choose
from hebae.experiments.evaluation.settings import EvaluationSettings
from hebae.experiments.evaluation.subject import Subject
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.claiming import claim
from hebae.experiments.reproduction.datasets import Datasets
from hebae.experiments.reproduction.feature_spaces import feature_spaces
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.study import FinishedRun, Study
from hebae.experiments.reproduction.training import POLL, divergence
from hebae.priors import NAMES

__all__ = ["evaluation_settings", "measure_all"]


def evaluation_settings(study: Study, budget: Budget) -> EvaluationSettings:
    """Return what the runs of a study are judged by: on test examples, by all samplers."""
    basic = {"split": "test", "samplers": NAMES}
    return EvaluationSettings(**basic | dict(study.evaluation) | dict(budget.evaluation))


def measure_all(
    study: Study,
    budget: Budget,
    runs: Sequence[PlannedRun],
    root: Path,
    datasets: Datasets,
    *,
    command: str,
    told: Callable[[str], None] = lambda note: None,
    progress: Callable[[str], None] = lambda words: None,
) -> list[FinishedRun]:
    """Measure the runs of a study; what is kept in their ``evaluation.json`` is not done again.

    Parameters
    ----------
    study : Study
    budget : Budget
    runs : sequence of PlannedRun
        All done.
    root : Path
        Folder of the runs.
    datasets : Datasets
    command : str
        For the provenance.
    told, progress : callable
        Take notes for the user, and what is being done.

    Returns
    -------
    list of FinishedRun
        In the order of `runs`.
    """
    settings = evaluation_settings(study, budget)
    found: dict[str, FinishedRun] = {}

    def words(run: PlannedRun, doing: str) -> None:
        progress(f"{study.name}: measuring {len(found) + 1} of {len(runs)}, {run.name}: {doing}")

    while len(found) < len(runs):
        before = len(found)
        for run in runs:
            if run.name in found:
                continue
            with claim(root, [run.name]) as mine:
                if mine:
                    found[run.name] = _measure(
                        run,
                        root / run.name,
                        datasets.of(run.settings),
                        settings,
                        study.measures(budget, run),
                        command,
                        told,
                        partial(words, run),
                    )
        if len(found) == before:
            progress(f"{study.name}: waiting for {len(runs) - before} runs measured elsewhere")
            time.sleep(POLL)
    return [found[run.name] for run in runs]


def _measure(
    run: PlannedRun,
    path: Path,
    dataset: Dataset,
    settings: EvaluationSettings,
    names: Sequence[str],
    command: str,
    told: Callable[[str], None],
    progress: Callable[[str], None],
) -> FinishedRun:
    def subject() -> Subject:
        return Subject(path, Settings.read(path / "config.yaml"), dataset, settings)

    reason = divergence(path)
    if reason:
        return FinishedRun(run, path, Kept(), subject, reason)
    metrics = choose(names)
    judges = feature_spaces(dataset, metrics, settings, told=told, progress=progress)
    kept = measure(subject(), metrics, judges, command=command, progress=progress)
    return FinishedRun(run, path, kept, subject)
