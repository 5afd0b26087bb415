"""Train what is missing of the planned runs, beside other machines that do the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hebae.experiments.reproduction.datasets import Datasets
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.storage import RunFolder
from hebae.training import session
from hebae.training.checks import complete
from hebae.training.many import Job, Watcher, train_all

__all__ = ["POLL", "check", "divergence", "is_done", "train"]

POLL = 5.0
"""Seconds between looks at what other processes have finished."""


def check(runs: Sequence[PlannedRun], datasets: Datasets, device: str = "auto") -> None:
    """Load the data and check every run; a HebaeError for what would fail later."""
    for run in runs:
        dataset = datasets.of(run.settings)
        complete(run.settings.replace(device=device), session.summary_of(dataset))


def divergence(path: Path) -> str:
    """Return why the run in a folder diverged; "" if it did not."""
    file = RunFolder(path).divergence
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def is_done(path: Path) -> bool:
    """Whether there is nothing left to train: the run is finished, or diverged."""
    return RunFolder(path).is_finished or bool(divergence(path))


def train(
    runs: Sequence[PlannedRun],
    root: Path,
    datasets: Datasets,
    *,
    command: str,
    device: str = "auto",
    watcher: Watcher | None = None,
    progress: Callable[[str], None] = lambda words: None,  # no longer used
) -> bool:
    """Train every run that is not done into a folder beneath `root`.

    Parameters
    ----------
    runs : sequence of PlannedRun
    root : Path
        Folder of the runs.
    datasets : Datasets
    command : str
        For the provenance.
    device : str
    watcher : Watcher, optional
        Is told of the trainings.
    progress : callable
        Is told what is waited for.

    Returns
    -------
    bool
        Whether all are done: not if it was interrupted.

    Raises
    ------
    HebaeError
        If a folder holds a run of other settings, or cannot be written.
    """
    waiting = [run for run in runs if not is_done(root / run.name)]
    jobs = [_job(run, root, datasets, device) for run in waiting]
    results = train_all(jobs, command=command, watcher=watcher)
    return all(result.state != "interrupted" for result in results)


def _job(run: PlannedRun, root: Path, datasets: Datasets, device: str) -> Job:
    settings = run.settings.replace(device=device, data_dir=datasets.data_dir)
    prepared = session.prepare(settings, datasets.of(run.settings))
    prepared.release()
    return Job(run.name, prepared, root / run.name)
