"""A sweep's folder: whether it may be used, and what is kept of the sweep in ``sweep.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hebae.errors import HebaeError
from hebae.experiments.sweep.axes import Axis
from hebae.experiments.sweep.plan import shared
from hebae.files import clear, make_folder, require_only, write_atomically
from hebae.training.many import Job
from hebae.training.session import CHANGEABLE

__all__ = ["SweepFolder"]


class SweepFolder:
    """The files of a sweep, by name."""

    NAMES = ("sweep.json", "sweep.csv", "sweep.md", "report.html", "figures", "runs")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mark = path / "sweep.json"
        self.runs = path / "runs"
        self.figures = path / "figures"
        self.page = path / "report.html"

    def require_usable(self, *, resume: bool, overwrite: bool) -> None:
        """Raise unless a sweep may be put here, or gone on with; nothing is written."""
        if self.mark.is_file():
            if overwrite:
                require_only(self.path, self.NAMES)
            elif not resume:
                raise HebaeError(
                    f"{self.path} holds a sweep already; --resume goes on with it, --overwrite "
                    "replaces it, or name another --output."
                )
        elif self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise HebaeError(
                f"--output {self.path} holds files of another kind; name another folder."
            )
        elif resume:
            raise HebaeError(f"{self.path} holds no sweep to go on with; leave out --resume.")

    def open(
        self, axes: Sequence[Axis], jobs: Sequence[Job], *, resume: bool, overwrite: bool
    ) -> None:
        """Make the folder, and write axes and settings into it; of an earlier sweep, see that.

        A sweep that goes on may have more values than it had, and none fewer.
        """
        self.require_usable(resume=resume, overwrite=overwrite)
        if self.mark.is_file():
            if overwrite:
                clear(self.path, self.NAMES)
            else:
                self._require_same(jobs)
        make_folder(self.path, "--output")
        self.write(axes, jobs, {})

    def write(self, axes: Sequence[Axis], jobs: Sequence[Job], results: Mapping[str, Any]) -> None:
        """Write ``sweep.json``: axes, the settings that all runs share, those of each, results."""
        common, own = shared(job.prepared.settings for job in jobs)
        content = {
            "axes": {axis.name: list(axis.values) for axis in axes},
            "settings": common,
            "runs": {job.label: settings for job, settings in zip(jobs, own, strict=True)},
            **results,
        }
        self.write_text("sweep.json", json.dumps(content, indent=2, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write one of the files, whole or not at all."""
        write_atomically(
            self.path / name,
            partial(Path.write_text, data=text, encoding="utf-8", errors="replace"),
        )

    def _require_same(self, jobs: Sequence[Job]) -> None:
        try:
            stored = json.loads(self.mark.read_text(encoding="utf-8"))
            before = {label: stored["settings"] | own for label, own in stored["runs"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise HebaeError(f"{self.mark} is altered; start anew with --overwrite.") from None
        fixed = CHANGEABLE - {"epochs"}
        now = {job.label: job.prepared.settings.model_dump(mode="json") for job in jobs}
        for label, settings in before.items():
            if label not in now:
                raise HebaeError(
                    f"{self.path} holds a sweep with the run {label}, which is not asked for; with "
                    "--resume give its axes in the same order, with all their values, or name "
                    "another --output."
                )
            for name in sorted(now[label].keys() - fixed):
                if settings.get(name) != now[label][name]:
                    raise HebaeError(
                        f"{self.path} holds a sweep with {name} {settings.get(name)!r}, and "
                        f"{now[label][name]!r} is asked for ({label}); give the same as then with "
                        "--resume, or name another --output."
                    )
