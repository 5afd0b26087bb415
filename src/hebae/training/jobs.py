"""A training to be done, what became of it, and who is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hebae.storage import RunFolder
from hebae.training.session import Prepared

__all__ = ["Job", "Result", "Watcher", "steps_left"]


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
    state: Literal["finished", "diverged", "interrupted", "elsewhere"]
    message: str = ""
    """Why it diverged."""


class Watcher:
    """Something that is told how many trainings go; every method may be left as it is."""

    def on_start(self, results: Sequence[Result], waiting: int, steps: int) -> None:
        """Training begins: what is done already, how many jobs wait, and for how many steps."""

    def on_steps(self, count: int) -> None:
        """So many more steps were taken, of all jobs together."""

    def on_spared(self, count: int) -> None:
        """So many steps fewer are to be taken: a job stopped early, or had more behind it."""

    def on_result(self, result: Result) -> None:
        """One job is over, or was interrupted."""

    def on_end(self) -> None:
        """Training is over, for whatever reason."""


def steps_left(job: Job) -> int:
    """Count the steps that are left, by the epochs that are done."""
    settings, examples = job.prepared.settings, len(job.prepared.dataset.train)
    full, rest = divmod(examples, settings.batch_size)
    per_epoch = full + bool(rest and not settings.drop_last)
    return per_epoch * (settings.epochs - len(job.folder.history()))
