"""Runs trained and measured as tasks of Ray.

A task trains a group of runs, or measures one run, by the code that one process uses
(`hebae.training.many.train_all`, `hebae.experiments.measure`). It reads settings and data, and
writes into the run folders, which all nodes share. A task that is started again finds finished runs
and the checkpoints of the others, and the lock of a run folder keeps a worker out that was only
believed lost.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from hebae.config import Settings
from hebae.data import Dataset, load
from hebae.errors import HebaeError
from hebae.experiments.cluster import Cluster, Report
from hebae.experiments.trained_run import RunResult
from hebae.files import make_folder
from hebae.folders import locked
from hebae.training import interrupt
from hebae.training.many import Job, Result, Watcher, groups, steps_left, train_all
from hebae.training.session import prepare

PATIENCE = 120
"""Seconds that a task waits for a run folder: the lock of a lost node is released after a while."""
REPORT_EVERY = 2.0
"""Seconds between two reports of a task."""

Measure = Callable[..., RunResult]
"""From a result, and a function `progress` that takes messages, to the result with measurements."""


def train_on(
    cluster: Cluster, jobs: Sequence[Job], command: str, watcher: Watcher
) -> Iterator[Result]:
    """Train jobs as tasks of a cluster: with the cluster given, a `hebae.training.many.Trainer`."""
    if not jobs:
        return
    device = jobs[0].prepared.settings.device
    most = -(-len(jobs) // cluster.slots(device))
    parts = [part for group in groups(jobs) for part in _divided(group, most)]
    for folder in {job.path.parent for job in jobs}:
        make_folder(folder, "--output")
    left = [sum(map(steps_left, part)) for part in parts]
    begun = set()

    def watch(number: int, message: tuple[str, int]) -> None:
        kind, count = message
        if kind == "start":
            if number in begun:
                cluster.notify(f"A worker was lost; {_named(parts[number])} started again.")
            begun.add(number)
            watcher.on_spared(left[number] - count)
            left[number] = count
        else:
            left[number] -= count
            (watcher.on_steps if kind == "steps" else watcher.on_spared)(count)

    tasks = [_Training.of(part, command) for part in parts]
    for number, found in cluster.run(_train, tasks, device=device, watch=watch):
        for job, (state, message) in zip(parts[number], found, strict=True):
            yield Result(job, state, message)


def measure_each(
    calls: Sequence[tuple[RunResult, Measure]],
    progress: Callable[[str], None],
    cluster: Cluster | None = None,
) -> list[RunResult] | None:
    """Measure runs, one after the other or as tasks of a cluster; None if that was interrupted."""
    if cluster is None:
        return [
            measure(run, progress=lambda message, name=run.label: progress(f"{name}: {message}"))
            for run, measure in calls
        ]
    found: dict[int, RunResult] = {
        number: measure(run, progress=progress)  # there is nothing to measure
        for number, (run, measure) in enumerate(calls)
        if run.diverged
    }
    numbers = [number for number in range(len(calls)) if number not in found]
    if not numbers:
        return list(found.values())
    tasks = [_Measuring.of(*calls[number]) for number in numbers]

    def say(name: str, message: str) -> None:
        progress(f"measured {len(found)} of {len(calls)} runs; {name}: {message}")

    def watch(number: int, message: str) -> None:
        say(tasks[number].run.label, message)

    device = calls[numbers[0]][0].evaluation.device
    for number, result in cluster.run(_measure, tasks, device=device, watch=watch):
        run = calls[numbers[number]][0]
        found[numbers[number]] = replace(result, path=run.path, dataset=run.dataset)
        say(run.label, "measured")
    if len(found) < len(calls):
        return None
    return [found[number] for number in range(len(calls))]


def _divided(group: list[Job], most: int) -> Iterator[list[Job]]:
    """Divide a group into parts of equal size, give or take one."""
    parts = -(-len(group) // most)
    for part in range(parts):
        yield group[part * len(group) // parts : (part + 1) * len(group) // parts]


def _named(jobs: Sequence[Job]) -> str:
    return f"its run {jobs[0].label} is" if len(jobs) == 1 else f"its {len(jobs)} runs are"


# In a worker ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Training:
    """Runs that one task trains, without their data."""

    runs: tuple[tuple[str, Settings, Path], ...]
    group: Path | None
    fingerprint: str
    command: str

    @classmethod
    def of(cls, jobs: Sequence[Job], command: str) -> _Training:
        runs = tuple((job.label, job.prepared.settings, job.path.absolute()) for job in jobs)
        group = jobs[0].group
        group = None if group is None else group.absolute()
        return cls(runs, group, jobs[0].prepared.dataset.fingerprint, command)


@dataclass(frozen=True)
class _Measuring:
    """A run that one task measures, without its data."""

    run: RunResult
    measure: Measure
    fingerprint: str

    @classmethod
    def of(cls, run: RunResult, measure: Measure) -> _Measuring:
        return cls(_without_data(run), measure, run.dataset.fingerprint)


def _without_data(run: RunResult) -> RunResult:
    return replace(run, path=run.path.absolute(), dataset=None)  # type: ignore[arg-type]


def _train(task: _Training, report: Report) -> list[tuple[str, str]]:
    """Train the runs that are not finished; return state and message of each."""
    dataset = shared_dataset(task.runs[0][1], task.fingerprint)
    jobs = []
    for label, settings, path in task.runs:
        require_shared(path.parent)
        prepared = prepare(settings, dataset)
        prepared.release()
        jobs.append(Job(label, prepared, path, task.group))
        if path.is_dir():
            with locked(path, seconds=PATIENCE):
                pass  # the worker that was lost has really ended
    results = train_all(jobs, command=task.command, watcher=_Reporter(report))
    cancelled = interrupt.exit_status() == 130
    if any(result.state == "interrupted" for result in results) and not cancelled:
        os._exit(interrupt.exit_status())  # this node is taken away: another worker resumes
    return [(result.state, result.message) for result in results]


def _measure(task: _Measuring, report: Report) -> RunResult:
    run = task.run
    require_shared(run.path)
    last = 0.0

    def progress(message: str) -> None:
        nonlocal last
        if time.monotonic() > last + REPORT_EVERY:
            report(message)
            last = time.monotonic()

    run = replace(run, dataset=shared_dataset(run.settings, task.fingerprint))
    return _without_data(task.measure(run, progress=progress))


def require_shared(folder: Path) -> None:
    """Raise a HebaeError if the node of this task does not have a folder of the command."""
    if not folder.is_dir():
        raise HebaeError(
            f"the node {socket.gethostname()} does not have {folder}; --output must be in a folder "
            "that all nodes share."
        )


def shared_dataset(settings: Settings, fingerprint: str) -> Dataset:
    """Load data, or return those of the last task, if they are those of the command."""
    dataset = _loaded(tuple(settings.source.items()))
    if dataset.fingerprint != fingerprint:
        raise HebaeError(
            f"the data {settings.data} on the node {socket.gethostname()} differ from those of "
            "the node that runs the command; copy the data, or use a folder that all nodes share."
        )
    return dataset


@lru_cache(maxsize=2)
def _loaded(source: tuple[tuple[str, Any], ...]) -> Dataset:
    return load(**dict(source))


class _Reporter(Watcher):
    """Reports steps to the process that started the task, every few seconds."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.steps = 0
        self.last = time.monotonic()

    def on_start(self, results: Sequence[Result], waiting: int, steps: int) -> None:
        self.report(("start", steps))

    def on_steps(self, count: int) -> None:
        self.steps += count
        if time.monotonic() > self.last + REPORT_EVERY:
            self._flush()

    def on_spared(self, count: int) -> None:
        self.report(("spared", count))

    def on_end(self) -> None:
        self._flush()

    def _flush(self) -> None:
        if self.steps:
            self.report(("steps", self.steps))
        self.steps, self.last = 0, time.monotonic()
