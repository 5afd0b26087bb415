"""Many trainings, each into its own run folder; small models are trained as one stack.

The rule (`why_alone` and `_key`): two or more jobs are trained as one stack if they have the same
method, architecture, data and budget, and differ in no more than weights of the penalty, seed and
learning rate (``config.MAY_DIFFER_IN_STACK``); if every layer can be stacked; and, on a CPU, if a
model has at most `LARGEST_ON_CPU` weights. A stack that would take more than half of the free
memory is divided.

Stacked, 64 models with 19,000 weights take 1/8.1 of the time that they take in turn, 16 models with
538,000 weights 1/1.3, and with 2,560,000 weights as long (docs/results/speed, "Grids").

A step of a small model is mostly fixed costs, which a stack pays once. The weights of many large
models do not stay in a CPU's cache from one step to the next, so that nothing is gained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hebae.building import build_objective
from hebae.config import AFFECT_ROUNDING, MAY_CHANGE_ON_RESUME, MAY_DIFFER_IN_STACK
from hebae.errors import HebaeError
from hebae.run_folder import RunFolder
from hebae.training import session
from hebae.training.batches import batch_sizes
from hebae.training.callbacks import Callback
from hebae.training.machine import device_type, estimate_memory, free_memory
from hebae.training.session import Prepared

LARGEST_ON_CPU = 600_000
"""Weights of the largest model that is stacked on a CPU."""

SHARE_OF_MEMORY = 0.5
"""Share of the free memory for a stack; the rest is for held-out passes and other programs."""


@dataclass(frozen=True)
class Job:
    """A training that has passed every check, and the folder it goes into."""

    label: str
    prepared: Prepared
    path: Path
    group: Path | None = None
    """Folder of the sweep or comparison that it belongs to."""

    @property
    def folder(self) -> RunFolder:
        """The run's folder, which may not exist yet."""
        return RunFolder(self.path)


@dataclass(frozen=True)
class Result:
    """How a job ended."""

    job: Job
    state: Literal["finished", "diverged", "interrupted"]
    message: str = ""
    """Why it diverged."""


class Watcher:
    """Follows many trainings; methods that are not overridden do nothing."""

    def on_start(self, results: Sequence[Result], waiting: int, steps: int) -> None:
        """Training begins: jobs that are done already, how many wait, and for how many steps."""

    def on_steps(self, count: int) -> None:
        """`count` more steps were taken, of all jobs together."""

    def on_spared(self, count: int) -> None:
        """`count` steps fewer remain: a job stopped early, or had done more already."""

    def on_result(self, result: Result) -> None:
        """One job is over, or was interrupted."""

    def on_end(self) -> None:
        """Training is over, for whatever reason."""


Trainer = Callable[[Sequence[Job], str, Watcher], Iterator[Result]]
"""Trains or resumes jobs, with a command for the provenance; yields each result when it is known.

It tells the watcher of steps; jobs that are missing in the results were interrupted.
"""


def train_in_turn(jobs: Sequence[Job], command: str, watcher: Watcher) -> Iterator[Result]:
    """Train jobs in this process, one group after the other: a `Trainer`."""
    for group in groups(jobs):
        results = list(_train(group, command, watcher))
        yield from results
        if any(result.state == "interrupted" for result in results):
            return


def train_all(
    jobs: Sequence[Job],
    *,
    command: str,
    watcher: Watcher | None = None,
    train: Trainer = train_in_turn,
) -> list[Result]:
    """Train every job that is not finished; jobs that were begun are resumed.

    A training that diverges is marked (``diverged.txt`` in its folder) and does not stop the
    others; it is not trained again while the mark is there.

    Parameters
    ----------
    jobs : sequence of Job
        Each with its own folder.
    command : str
        Command for the provenance.
    watcher : Watcher, optional
    train : Trainer
        Trains the jobs that are not finished.

    Returns
    -------
    list of Result
        In the order of the jobs. After an interrupt the jobs that had not ended are "interrupted":
        the same call resumes them.

    Raises
    ------
    HebaeError
        Before any training, if two jobs share a folder, or one holds a run with other settings or
        anything else.
    """
    watcher = watcher or Watcher()
    paths = [job.path for job in jobs]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise HebaeError(f"two jobs would train into {twice}; give each its own folder.")
    results = {job.path: result for job in jobs if (result := _earlier_result(job)) is not None}
    waiting = [job for job in jobs if job.path not in results]
    watcher.on_start(list(results.values()), len(waiting), sum(map(steps_left, waiting)))
    try:
        for result in train(waiting, command, watcher):
            results[result.job.path] = result
            watcher.on_result(result)
    except KeyboardInterrupt:  # between two trainings, or the second, which does not wait
        pass
    finally:
        watcher.on_end()
    return [results.get(job.path, Result(job, "interrupted")) for job in jobs]


def groups(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Divide jobs into stacks and single ones, in the order of their first job."""
    together: dict[str, list[Job]] = {}
    for job in jobs:
        together.setdefault(str(job.path) if why_alone(job) else _key(job), []).append(job)
    for members in together.values():
        most = len(members)
        if most > 1:
            prepared = members[0].prepared
            need = estimate_memory(prepared.settings, prepared.dataset.train)
            free = SHARE_OF_MEMORY * free_memory(device_type(prepared.settings))
            most = max(1, int(free // (need.weights + need.batch)))
        parts = -(-len(members) // most)
        for part in range(parts):  # of equal size, give or take one
            yield members[part * len(members) // parts : (part + 1) * len(members) // parts]


def why_alone(job: Job) -> str | None:
    """Say why a job cannot be a member of a stack; None if it can."""
    settings = job.prepared.settings
    if settings.network != "mlp":
        return f"network {settings.network} (batch normalisation and convolutions are not stacked)"
    objective = build_objective(settings)
    if objective.adversarial or objective.uses_decoder:
        part = "a critic" if objective.adversarial else "terms of the decoder"
        return f"method {settings.method} ({part} cannot be stacked)"
    if settings.prior != "normal":
        return f"prior {settings.prior} (learned priors are not stacked)"
    if settings.early_stopping is not None:
        return "early stopping"
    if settings.devices > 1:
        return "several devices"
    if settings.precision == "16-mixed":
        return "16-mixed precision, whose loss is scaled for each model"
    if settings.loggers:
        return f"logger {' '.join(settings.loggers)}"
    if device_type(settings) == "cpu":
        if settings.compile == "on":
            return "a compiled step"
        weights = estimate_memory(settings, job.prepared.dataset.train).count
        if weights > LARGEST_ON_CPU:
            return f"{weights:,} weights (above {LARGEST_ON_CPU:,} a stack is not faster on a CPU)"
    return None


def _key(job: Job) -> str:
    settings = job.prepared.settings
    shared = settings.model_dump(mode="json", exclude=set(MAY_DIFFER_IN_STACK))
    # Without a rate weight HEBAE has other terms.
    shared["terms"] = list(build_objective(settings).weights)
    shared["data"] = job.prepared.dataset.fingerprint
    shared["position"] = _checkpoint(job).get("steps", 0)
    return json.dumps(shared, sort_keys=True)


def steps_left(job: Job) -> int:
    """Return the steps that a job has to take, after its checkpoint if there is one."""
    settings, examples = job.prepared.settings, len(job.prepared.dataset.train)
    per_epoch = len(batch_sizes(examples, settings.batch_size, settings.drop_last))
    return per_epoch * settings.epochs - int(_checkpoint(job).get("steps", 0))


def _checkpoint(job: Job) -> dict[str, Any]:
    if not job.folder.checkpoint.is_file():
        return {}
    state = job.folder.read_checkpoint(mapped=True)
    if not isinstance(state.get("steps"), int):
        raise HebaeError(f"{job.folder.checkpoint} is altered (steps); restore or remove it.")
    return state


def _earlier_result(job: Job) -> Result | None:
    """Return how the job ended before: None if it is to be trained or resumed."""
    folder = job.folder
    if not folder.is_run:
        folder.require_free(overwrite=False)
        return None
    stored = folder.settings()
    free_to_change = (MAY_CHANGE_ON_RESUME | AFFECT_ROUNDING) - {"epochs"}
    for name in type(stored).model_fields:
        found, wanted = getattr(stored, name), getattr(job.prepared.settings, name)
        if found != wanted and name not in free_to_change:
            raise HebaeError(
                f"{job.path} holds a run with {name} {found!r}, but {wanted!r} was requested; "
                "choose another --output."
            )
    if folder.divergence.is_file():
        return Result(job, "diverged", folder.divergence_reason())
    return Result(job, "finished") if folder.is_finished else None


def _train(group: Sequence[Job], command: str, watcher: Watcher) -> Iterator[Result]:
    # Equal learning rates next to each other make one parameter group.
    jobs = sorted(group, key=lambda job: job.prepared.settings.learning_rate or 0)
    counters = [_StepCounter(watcher, steps_left(job)) for job in jobs]
    members = session.run_group(
        [(job.prepared, job.path) for job in jobs],
        [[counter] for counter in counters],
        command,
        group=jobs[0].group,
    )
    for job, member, counter in zip(jobs, members, counters, strict=True):
        job.prepared.release()
        if member.interrupted:
            yield Result(job, "interrupted")
            continue
        if counter.left:
            watcher.on_spared(counter.left)
        if member.diverged is None:
            yield Result(job, "finished")
        else:
            job.folder.mark_diverged(str(member.diverged))
            yield Result(job, "diverged", str(member.diverged))


class _StepCounter(Callback):
    """Passes on how many of the expected steps were taken since the last report."""

    def __init__(self, watcher: Watcher, expected: int) -> None:
        self.watcher, self.left = watcher, expected

    def on_start(self, step: int, total: int | None) -> None:
        self.step = step

    def on_log(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        if step > self.step:
            self.watcher.on_steps(step - self.step)
            self.left -= step - self.step
            self.step = step
