"""Many trainings, each into a run folder of its own; what can be is trained in one program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from hebae.errors import HebaeError
from hebae.training import session
from hebae.training.callbacks import Callback
from hebae.training.grid.group import train_group
from hebae.training.grid.grouping import groups
from hebae.training.grid.pace import pays
from hebae.training.jobs import Job, Result, Watcher, steps_left
from hebae.training.monitor import DivergenceError
from hebae.training.session import CHANGEABLE

__all__ = ["Claim", "Job", "Result", "Watcher", "train_all"]


Claim = Callable[[Sequence[Job]], AbstractContextManager[Sequence[Job]]]
"""Makes some of the jobs this process's own while the block lasts: those that nobody else has."""


def train_all(
    jobs: Sequence[Job],
    *,
    command: str,
    watcher: Watcher | None = None,
    claim: Claim = nullcontext,
) -> list[Result]:
    """Train every job that is not finished, and go on with those that were begun.

    Jobs that differ in no more than weights, seed and learning rate are trained together, as many
    as memory holds and if a trial finds it faster (`hebae.training.grid`); the others in turn.

    Parameters
    ----------
    jobs : sequence of Job
        Each with a folder of its own.
    command : str
        For the provenance.
    watcher : Watcher, optional
        Is told of the progress.
    claim : Claim
        Asked before each group, or job that is trained by itself, where several processes share
        the jobs.

    Returns
    -------
    list of Result
        In the order of the jobs. After an interrupt the jobs that had not ended are "interrupted":
        the same call goes on with them. Jobs that another process has are "elsewhere".

    Raises
    ------
    HebaeError
        Before any training, if two jobs share a folder, or one holds a run with other settings or
        anything else.
    """
    watcher = watcher or Watcher()
    _require_folders_apart(jobs)
    results = {job.path: result for job in jobs if (result := _earlier_result(job)) is not None}
    waiting = [job for job in jobs if job.path not in results]
    expected = {job.path: steps_left(job) for job in waiting}
    watcher.on_start(list(results.values()), len(waiting), sum(expected.values()))
    rest: Literal["elsewhere", "interrupted"] = "elsewhere"

    def settle(result: Result) -> None:
        results[result.job.path] = result
        watcher.on_result(result)

    def allow_for_others() -> None:
        """Take note of what another process has done of the jobs since we began."""
        for job in waiting:
            if job.path in results or not job.folder.is_run:
                continue
            now = steps_left(job)
            if now < expected[job.path]:
                watcher.on_spared(expected[job.path] - now)
                expected[job.path] = now
            if (result := _earlier_result(job)) is not None:
                settle(result)

    try:
        for part in _parts(waiting):
            with claim(part) as own:
                allow_for_others()
                own = [job for job in own if job.path not in results]
                for result in _train_claimed(own, command, watcher):
                    settle(result)
                    if result.state == "interrupted":
                        rest = "interrupted"
            if rest == "interrupted":
                break
    except KeyboardInterrupt:  # between two trainings, or the second, which does not wait
        rest = "interrupted"
    finally:
        watcher.on_end()
    return [results.get(job.path, Result(job, rest)) for job in jobs]


def _train_claimed(jobs: Sequence[Job], command: str, watcher: Watcher) -> Iterator[Result]:
    """Train jobs that belong together, and are nobody else's."""
    for part in _parts(jobs):  # anew: another process may have begun some
        if len(part) > 1:
            results = train_group(part, command, watcher)
        else:
            results = [_train(part[0], command, watcher)]
        yield from results
        if any(result.state == "interrupted" for result in results):
            return


def _parts(jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
    """Divide jobs into those that are faster together, and single ones."""
    for group in groups(jobs):
        if len(group) > 1 and pays(group):
            yield group
        else:
            yield from ([job] for job in group)


def _require_folders_apart(jobs: Sequence[Job]) -> None:
    paths = [job.path for job in jobs]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise HebaeError(f"two jobs would train into {twice}; give each a folder of its own.")


def _earlier_result(job: Job) -> Result | None:
    """Tell what became of the job before: None if it is to be trained, or gone on with."""
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
    counter = _StepCounter(watcher, steps_left(job))
    try:
        outcome = session.run(
            job.prepared,
            job.path,
            command=command,
            resuming=job.folder.is_run,
            callbacks=lambda settings: [counter],
        )
    except DivergenceError as error:
        job.folder.mark_diverged(str(error))
        counter.spare_the_rest()
        return Result(job, "diverged", str(error))
    finally:
        job.prepared.release()
    if outcome.interrupted:
        return Result(job, "interrupted")
    counter.spare_the_rest()
    return Result(job, "finished")


class _StepCounter(Callback):
    """Passes on how many steps were taken since it last heard.

    Parameters
    ----------
    watcher : Watcher
    expected : int
        Steps that the watcher counts on.
    """

    def __init__(self, watcher: Watcher, expected: int) -> None:
        self.watcher = watcher
        self.left = expected
        self.step = 0

    def on_start(self, step: int, total: int | None) -> None:
        """See `Callback`."""
        self.step = step
        if total is not None and total - step < self.left:  # a checkpoint within an epoch
            self.spare(self.left - (total - step))

    def on_log(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        """See `Callback`."""
        if step > self.step:
            self.watcher.on_steps(step - self.step)
            self.left -= step - self.step
            self.step = step

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """See `Callback`."""
        self.on_log(record["step"], record["epoch"], {})

    def spare(self, count: int) -> None:
        """Tell that so many of the expected steps will not be taken."""
        if count:
            self.watcher.on_spared(count)
            self.left -= count

    def spare_the_rest(self) -> None:
        """Tell that the job takes no more steps."""
        self.spare(self.left)
