"""The runs to evaluate: finished, of the same data, and what each is called in a table."""

from __future__ import annotations

import json
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

    def data_fingerprint(self) -> str:
        """SHA-256 of the content that it was trained on."""
        path = self.path / "config.json"
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["data_fingerprint"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HebaeError(
                f"{path} is missing, truncated or altered ({type(error).__name__}); restore it or "
                "train the model again."
            ) from None


def open_runs(
    paths: Sequence[Path], data: str | None = None, data_dir: Path | None = None
) -> tuple[list[Run], Dataset]:
    """Read the settings of runs and load the data that all of them were trained on.

    Parameters
    ----------
    paths : sequence of Path
    data, data_dir : optional
        Where the data are now, if they have moved.

    Raises
    ------
    HebaeError
        If there is none, one is named twice or not finished, their data differ, or the data found
        are not of the content that they were trained on.
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
    try:
        dataset = load(
            data or settings.data,
            data_dir=data_dir or settings.data_dir,
            validation_size=settings.validation_size,
        )
    except HebaeError as error:
        raise HebaeError(f"{error} If the data have moved, name them by --data.") from None
    for run in runs:
        trained_on = run.data_fingerprint()
        if trained_on != dataset.fingerprint:
            raise HebaeError(
                f"{dataset.name} has not the content that {run.path} was trained on (SHA-256 "
                f"{trained_on[:16]}); name its own data by --data."
            )
    return runs, dataset


def group(runs: Sequence[Run], pool_seeds: bool) -> dict[str, list[Run]]:
    """Put runs into columns, by label: the method, where that tells all apart, folder or path.

    With `pool_seeds`, runs whose settings differ in the seed alone share a column.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        key = str(run.path.resolve())
        if pool_seeds:
            key = run.settings.replace(seed=0, data_dir=None).to_yaml()
        groups.setdefault(key, []).append(run)
    methods = Counter(members[0].settings.method for members in groups.values())
    for by_method, by_folder in ((True, True), (False, True), (False, False)):
        labelled = {}
        for members in groups.values():
            first = members[0]
            if by_method and methods[first.settings.method] == 1:
                label = display_name(first.settings.method)
            else:
                label = first.name if by_folder else str(first.path)
            labelled[label] = members
        if len(labelled) == len(groups):
            break
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
