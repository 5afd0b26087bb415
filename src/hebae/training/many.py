"""Many trainings, each into a run folder of its own; what can be is trained in one program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hebae.errors import HebaeError
from hebae.storage import RunFolder
from hebae.training import session
from hebae.training.callbacks import Callback
from hebae.training.monitor import DivergenceError
from hebae.training.session import CHANGEABLE, Prepared

__all__ = ["Job", "Result", "Watcher", "train_all"]


@dataclass(frozen=True)
class Job:
    """A training that has passed every check, and the folder it goes into."""

    label: str
    prepared: Prepared
    path: Path

    @property
    def folder(self) -> RunFolder:
        """The run's folder, which may not be there yet."""
        return RunFolder(self.path)


@dataclass(frozen=True)
class Result:
    """What became of a job."""

    job: Job
    state: Literal["finished", "diverged", "interrupted"]
    message: str = ""
    """Why it diverged."""


class Watcher:
    """Something that is told how many trainings go; every method may be left as it is."""

    def on_start(self, results: Sequence[Result], waiting: int, steps: int) -> None:
        """Training begins: what is done already, how many jobs wait, and for how many steps."""

    def on_steps(self, count: int) -> None:
        """So many more steps were taken, of all jobs together."""

    def on_result(self, result: Result) -> None:
        """A job is over."""

    def on_end(self) -> None:
        """Training is over, for whatever reason."""


def train_all(jobs: Sequence[Job], *, command: str, watcher: Watcher | None = None) -> list[Result]:
    """Train every job that is not finished, and go on with those that were begun.

    Parameters
    ----------
    jobs : sequence of Job
        Each with a folder of its own.
    command : str
        For the provenance.
    watcher : Watcher, optional
        Is told of the progress.

    Returns
    -------
    list of Result
        In the order of the jobs. After an interrupt the jobs that had not ended are "interrupted":
        the same call goes on with them.

    Raises
    ------
    HebaeError
        Before any training, if a folder holds a run with other settings or anything else.
    """
    watcher = watcher or Watcher()
    results = {job.path: result for job in jobs if (result := _earlier_result(job)) is not None}
    waiting = [job for job in jobs if job.path not in results]
    watcher.on_start(list(results.values()), len(waiting), sum(map(_steps, waiting)))
    try:
        for job in waiting:
            result = _train(job, command, watcher)
            results[job.path] = result
            watcher.on_result(result)
            if result.state == "interrupted":
                break
    finally:
        watcher.on_end()
    return [results.get(job.path, Result(job, "interrupted")) for job in jobs]


def _earlier_result(job: Job) -> Result | None:
    """What became of the job before, or None if it is still to be trained (or gone on with)."""
    folder = job.folder
    if not folder.is_run:
        folder.require_free(overwrite=False)
        return None
    stored = folder.settings()
    for name in type(stored).model_fields:
        if name in CHANGEABLE - {"epochs"}:
            continue
        found, wanted = getattr(stored, name), getattr(job.prepared.settings, name)
        if found != wanted:
            raise HebaeError(
                f"{job.path} holds a run with {name} {found!r}, and {wanted!r} is asked for; name "
                "another --output."
            )
    if folder.divergence.is_file():
        return Result(job, "diverged", folder.divergence.read_text(encoding="utf-8").strip())
    return Result(job, "finished") if folder.is_finished else None


def _train(job: Job, command: str, watcher: Watcher) -> Result:
    """Train one job by itself."""
    try:
        outcome = session.run(
            job.prepared,
            job.path,
            command=command,
            resuming=job.folder.is_run,
            callbacks=lambda settings: [_StepCounter(watcher.on_steps)],
        )
    except DivergenceError as error:
        job.folder.mark_diverged(str(error))
        return Result(job, "diverged", str(error))
    return Result(job, "interrupted" if outcome.interrupted else "finished")


def _steps(job: Job) -> int:
    settings, examples = job.prepared.settings, len(job.prepared.dataset.train)
    full, rest = divmod(examples, settings.batch_size)
    per_epoch = full + bool(rest and not settings.drop_last)
    return per_epoch * (settings.epochs - len(job.folder.history()))


class _StepCounter(Callback):
    """Passes on how many steps were taken since it last heard."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self.tell = tell
        self.step = 0

    def on_start(self, step: int, total: int | None) -> None:
        """See `Callback`."""
        self.step = step

    def on_log(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        """See `Callback`."""
        self.tell(step - self.step)
        self.step = step

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """See `Callback`."""
        self.on_log(record["step"], record["epoch"], {})
