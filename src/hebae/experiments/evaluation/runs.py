"""The runs to evaluate: finished, of the same data, and what each is called in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hebae.config import DataSettings, Settings
from hebae.data import Dataset, load
from hebae.errors import HebaeError
from hebae.report.methods import display_name
from hebae.storage import RunFolder

__all__ = ["Run", "group", "open_runs"]


@dataclass(frozen=True)
class Run:
    """A finished run."""

    path: Path
    settings: Settings

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.path.resolve().name


def open_runs(paths: Sequence[Path]) -> tuple[list[Run], Dataset]:
    """Read the settings of runs and load the data that all of them were trained on.

    Raises
    ------
    HebaeError
        If there is none, one is named twice or not finished, or their data differ.
    """
    if not paths:
        raise HebaeError("name one run folder or more: hebae evaluate runs/first runs/second.")
    twice = [str(path) for path, n in Counter(path.resolve() for path in paths).items() if n > 1]
    if twice:
        raise HebaeError(f"{twice[0]} is named twice; name each run once.")
    runs = [Run(path, _settings(path)) for path in paths]
    first, *others = runs
    for other in others:
        for name in DataSettings.model_fields:
            ours, theirs = (getattr(run.settings, name) for run in (first, other))
            if ours != theirs and name != "data_dir":
                raise HebaeError(
                    f"{first.path} was trained with {name} {ours} and {other.path} with {theirs}; "
                    "one table compares runs of the same data: evaluate them one by one."
                )
    settings = first.settings
    dataset = load(
        settings.data, data_dir=settings.data_dir, validation_size=settings.validation_size
    )
    return runs, dataset


def group(runs: Sequence[Run], pool_seeds: bool) -> dict[str, list[Run]]:
    """Put runs into columns, by label: the method, where it tells them apart, or the folder.

    With `pool_seeds`, runs whose settings differ in the seed alone share a column.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        key = str(run.path.resolve())
        if pool_seeds:
            key = run.settings.replace(seed=0, data_dir=None).to_yaml()
        groups.setdefault(key, []).append(run)
    methods = Counter(members[0].settings.method for members in groups.values())
    names = Counter(members[0].name for members in groups.values())
    labelled = {}
    for members in groups.values():
        method, name = members[0].settings.method, members[0].name
        if methods[method] == 1:
            label = display_name(method)
        else:
            label = name if names[name] == 1 else str(members[0].path)
        labelled[label] = members
    return labelled


def _settings(path: Path) -> Settings:
    folder = RunFolder(path)
    if folder.is_run and not folder.is_finished:
        raise HebaeError(
            f"{path} is still training, or was stopped: it has no trained model yet. Wait for it, "
            f"or go on with: hebae train --resume --output {path}"
        )
    if not folder.is_run:
        what = "there is no folder" if not path.exists() else "no run of hebae train is in"
        raise HebaeError(f"{what} {path}; name the folder of a finished run.")
    return folder.settings()
