"""The runs of a sweep: each combination of the axes' values, checked and made ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from hebae.config import METHODS, DataSettings, Settings, resolve
from hebae.data import load
from hebae.errors import HebaeError
from hebae.experiments.sweep.axes import Axis
from hebae.training import session
from hebae.training.checks import require_relevant
from hebae.training.grid.grouping import groups, why_alone
from hebae.training.many import Job

__all__ = ["PlannedRun", "grouping", "plan", "prepare", "shared"]

LONGEST_NAME = 200
"""Bytes of a folder's name; most file systems allow 255."""


@dataclass(frozen=True)
class PlannedRun:
    """One combination of the axes' values, not yet held against the data."""

    label: str
    """Name of the run's folder: ``penalty_weight=0.001-seed=0``."""
    values: Mapping[str, Any]
    """By axis."""
    settings: Settings


def plan(
    axes: Sequence[Axis],
    preset: str | None = None,
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> list[PlannedRun]:
    """Lay each combination over preset, configuration file and flags; the last axis varies fastest.

    A method takes its own values of the preset or file.

    Raises
    ------
    HebaeError
        For anything that `hebae.config.resolve` refuses, an axis that is also a flag, a setting
        that has no effect on any of the methods, and several devices.
    """
    flags = dict(flags or {})
    for axis in axes:
        if axis.name in flags:
            raise HebaeError(
                f"{axis.name} is given as a flag and as an axis; leave out "
                f"--{axis.name.replace('_', '-')}, or --grid {axis.name}."
            )
    runs = []
    for combination in product(*(axis.values for axis in axes)):
        values = dict(zip((axis.name for axis in axes), combination, strict=True))
        label = "-".join(axis.label(value) for axis, value in zip(axes, combination, strict=True))
        runs.append(PlannedRun(label, values, resolve(preset, config, flags | values)))
    longest = max((run.label for run in runs), key=lambda label: len(label.encode()))
    if len(longest.encode()) > LONGEST_NAME:
        raise HebaeError(
            f"the folder {longest} would have a name of over {LONGEST_NAME} letters; give fewer "
            "axes."
        )
    methods = [method for method in METHODS if any(r.settings.method == method for r in runs)]
    require_relevant({*flags, *(axis.name for axis in axes)}, methods)
    for name in DataSettings.model_fields:
        if len({getattr(run.settings, name) for run in runs}) > 1:
            raise HebaeError(
                f"the methods of the sweep have unlike settings of {name}; the runs of a sweep "
                "share one loaded data set."
            )
    if any(run.settings.devices > 1 for run in runs):
        raise HebaeError("a sweep trains on one device; leave out --devices.")
    return runs


def prepare(
    runs: Sequence[PlannedRun],
    folder: Path,
    told: Callable[[Sequence[str]], None] = lambda notes: None,
) -> list[Job]:
    """Load the data once and check every run, so that no error waits behind an hour of training.

    Parameters
    ----------
    runs : sequence of PlannedRun
    folder : Path
        In which each run gets a folder, named by its label; nothing is written yet.
    told : callable
        Takes the notes of all runs, each once.

    Raises
    ------
    HebaeError
        Naming the first run that could not be trained.
    """
    settings = runs[0].settings
    dataset = load(
        settings.data, data_dir=settings.data_dir, validation_size=settings.validation_size
    )
    jobs = []
    by_label = {run.label: run.settings for run in runs}
    for label, prepared in session.prepare_alike(by_label, dataset):
        prepared.release()  # there may be thousands
        jobs.append(Job(label, prepared, folder / label))
    told(list(dict.fromkeys(note for job in jobs for note in job.prepared.notes)))
    return jobs


def shared(settings: Iterable[Settings]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Part settings, as they go into JSON, into what all share and what each has for itself."""
    dumped = [each.model_dump(mode="json") for each in settings]
    first = dumped[0]
    common = {n: first[n] for n in first if all(each[n] == first[n] for each in dumped)}
    return common, [{n: each[n] for n in each if n not in common} for each in dumped]


def grouping(jobs: Sequence[Job]) -> str:
    """Say how many runs would be trained in one program, and what keeps others from it."""
    sizes = [len(group) for group in groups(jobs)]
    parts = [str(size) for size in sizes if size > 1]
    reasons = dict.fromkeys(reason for reason in map(why_alone, jobs) if reason)
    alone = "; ".join(reasons) or "each of a kind of its own"
    words = []
    if parts:
        words.append(f"together where that is faster: {' + '.join(parts)}")
    if 1 in sizes:
        words.append(f"in turn: {sizes.count(1)} ({alone})")
    return "; ".join(words)
