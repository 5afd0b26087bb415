"""The folder of an experiment and the runs in it: check, train, measure.

`compare`, `sweep` and `evaluate --output` share this protocol. A folder is recognised by its mark,
a JSON file with the settings of all runs. It is created with ``--output``, continued with
``--resume`` (finished runs are kept, further runs may be added, none may be left out or changed)
and replaced with ``--overwrite``. Folders with other content are never touched. One process holds
the folder at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hebae.config import AFFECT_ROUNDING, MAY_CHANGE_ON_RESUME, Settings
from hebae.errors import HebaeError
from hebae.experiments.figures import Picture
from hebae.experiments.measure import take
from hebae.experiments.measurement import Measurement
from hebae.experiments.metrics.bounds import training
from hebae.experiments.plan import PlannedRun, common_settings
from hebae.experiments.trained_run import TrainedRun
from hebae.files import clear, locked, make_folder, require_only, write_atomically
from hebae.report.page import Picture as PagePicture
from hebae.report.page import Section, write_page
from hebae.report.tables import Table
from hebae.storage import RunFolder
from hebae.training.many import Job, Watcher, train_all

__all__ = ["ExperimentFolder", "RunResult", "run_all", "run_experiment"]

_MAY_CHANGE = (MAY_CHANGE_ON_RESUME | AFFECT_ROUNDING) - {"epochs"}


class ExperimentFolder:
    """The folder `path` of a "comparison", "sweep" or "evaluation"."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self.kind = kind
        self.mark = path / ("evaluation-table.json" if kind == "evaluation" else f"{kind}.json")
        self.runs = path / "runs"
        self.figures = path / "figures"
        self.page = path / "report.html"
        tables = (f"{kind}.csv", f"{kind}.md")
        self.names = (self.mark.name, *tables, "report.html", "figures", "runs", "evaluations")

    def require_usable(self, *, resume: bool, overwrite: bool) -> None:
        """Raise a HebaeError unless the experiment may be started or resumed here."""
        if self.mark.is_file():
            if overwrite:
                require_only(self.path, self.names)
            elif not resume:
                raise HebaeError(
                    f"{self.path} already holds a {self.kind}; --resume continues it, --overwrite "
                    "replaces it, or name another --output."
                )
        elif self.path.is_file():
            raise HebaeError(f"--output {self.path} is a file; name a folder.")
        elif self.path.is_dir() and any(
            not f.name.startswith(".") and f.name != "evaluations" for f in self.path.iterdir()
        ):
            raise HebaeError(
                f"--output {self.path} holds files of another kind; name another folder."
            )
        elif resume:
            raise HebaeError(
                f"{self.path} holds no {self.kind} to resume; leave out --resume, or name its "
                "--output."
            )

    @contextmanager
    def hold(self, *, resume: bool, overwrite: bool = False) -> Iterator[None]:
        """Create the folder, or empty it with `overwrite`, and keep other processes out."""
        self.require_usable(resume=resume, overwrite=overwrite)
        make_folder(self.path, "--output")
        with locked(self.path):
            if overwrite:
                clear(self.path, self.names)
            yield

    def start(self, jobs: Sequence[Job], content: Mapping[str, Any]) -> None:
        """Write the mark; a HebaeError if the folder holds other runs than these `jobs`."""
        if self.mark.is_file():
            self._require_same({job.label: job.prepared.settings for job in jobs})
        self.write_mark(jobs, content)

    def _require_same(self, wanted: Mapping[str, Settings]) -> None:
        try:
            stored = json.loads(self.mark.read_text(encoding="utf-8"))
            shared = stored.get("settings", {})
            before = {label: shared | rest for label, rest in stored["runs"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise HebaeError(f"{self.mark} is altered; start again with --overwrite.") from None
        for label, values in before.items():
            if label not in wanted:
                raise HebaeError(
                    f"{self.path} holds a {self.kind} with the run {label}, which is not asked "
                    "for; with --resume give all its earlier runs, or name another --output."
                )
            # A setting that an older version did not have has its default.
            settings = Settings.checked(values, str(self.mark))
            for name in sorted(Settings.model_fields.keys() - _MAY_CHANGE):
                was, now = getattr(settings, name), getattr(wanted[label], name)
                if was != now:
                    raise HebaeError(
                        f"{self.path} holds a {self.kind} with {name} {was!r}, but {now!r} is "
                        f"asked for ({label}); give the same settings with --resume, or name "
                        "another --output."
                    )

    def write_mark(self, jobs: Sequence[Job], content: Mapping[str, Any]) -> None:
        """Write the mark: the settings that all runs share, those of each, and `content`."""
        common, own = common_settings(job.prepared.settings for job in jobs)
        if self.kind == "comparison":  # few runs: each with all its settings
            common, own = {}, [common | rest for rest in own]
        runs = {job.label: rest for job, rest in zip(jobs, own, strict=True)}
        shared = {"settings": common} if common else {}
        self.write(self.mark.name, {**shared, "runs": runs, **content})

    def write(self, name: str, content: str | Mapping[str, Any]) -> None:
        """Write a text file, or a mapping as JSON."""
        if not isinstance(content, str):
            content = json.dumps(content, indent=2, allow_nan=False) + "\n"
        data = content.encode("utf-8", "replace")
        write_atomically(self.path / name, lambda path: path.write_bytes(data))

    def write_page(
        self, title: str, first: Sequence[Section], pictures: Sequence[Picture], *last: Section
    ) -> None:
        """Write ``report.html``: the sections `first`, the figures, then `last`."""
        figures = [
            Section(one.title, [PagePicture(one.path.read_bytes(), one.title, one.caption)])
            for one in pictures
        ]
        write_page(self.page, title, [*first, *figures, *last])


@dataclass(frozen=True)
class RunResult:
    """A run of an experiment after training."""

    label: str
    values: Mapping[str, Any]
    """What distinguishes it from the other runs."""
    settings: Settings
    """As resolved for the data."""
    path: Path
    reason: str = ""
    """Why it diverged; empty if it finished."""
    measurements: Sequence[Measurement] = ()
    """The metrics ``objective`` and ``moments``, and the training time; none if it diverged."""
    split: str = ""
    """The split that they were taken on."""

    @property
    def diverged(self) -> bool:
        """Whether the run diverged."""
        return bool(self.reason)


def run_all(
    planned: Sequence[PlannedRun],
    jobs: Sequence[Job],
    *,
    command: str,
    watcher: Watcher | None = None,
    retry_diverged: bool = False,
    progress: Callable[[str], None] = lambda message: None,
) -> list[RunResult] | None:
    """Train the runs that are not finished, stacked where that pays, and measure all of them.

    A run that diverges is marked and does not stop the others; with `retry_diverged`, runs that
    diverged earlier are trained again. `watcher` receives the progress of the trainings, `progress`
    a message before each measurement. The result is None if the training was interrupted.
    """
    for job in jobs:
        if retry_diverged and job.folder.divergence.is_file():
            clear(job.path, RunFolder.NAMES)
    results = train_all(jobs, command=command, watcher=watcher)
    if any(result.state == "interrupted" for result in results):
        return None
    found = []
    for run, result in zip(planned, results, strict=True):
        prepared = result.job.prepared
        path, reason = result.job.path, ""
        if result.state == "diverged":
            reason = result.message or "it diverged"
        one = RunResult(run.label, run.values, prepared.settings, path, reason)
        if not reason:
            progress(f"measuring {run.label}")
            trained = TrainedRun.held_out(path, prepared.dataset, prepared.settings.device)
            measurements = [*take(trained, ("objective", "moments")), *training(trained)]
            one = replace(one, measurements=measurements, split=trained.split)
        found.append(one)
    return found


def run_experiment(
    kind: str,
    planned: Sequence[PlannedRun],
    jobs: Sequence[Job],
    output: Path,
    report: Callable[[ExperimentFolder, Sequence[Job], Sequence[RunResult], str], Table],
    content: Mapping[str, Any] | None = None,
    *,
    command: str,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda message: None,
    **training: Any,
) -> Table | None:
    """Train the runs into folders in `output`, then tabulate and draw them.

    Parameters
    ----------
    kind : "comparison" or "sweep"
    planned, jobs : sequences of the same length
        See `hebae.experiments.plan`.
    output : Path
        Receives ``runs/``, ``figures/``, a JSON, a CSV and a Markdown file, and ``report.html``.
    report : callable
        Writes all files but the runs and returns the table; from the folder, the jobs, the results
        and the command.
    content : mapping, optional
        Kept in the JSON file, beside the settings of the runs.
    command : str
        For the provenance.
    resume, overwrite : bool
        Whether to keep the finished runs of an existing experiment, or to replace it.
    progress : callable
        Receives a message before each step after training.
    **training
        See `run_all`.

    Returns
    -------
    Table or None
        None if the training was interrupted.
    """
    folder = ExperimentFolder(output, kind)
    with folder.hold(resume=resume, overwrite=overwrite):
        folder.start(jobs, content or {})
        results = run_all(planned, jobs, command=command, progress=progress, **training)
        if results is None:
            return None
        progress("drawing the figures")
        return report(folder, jobs, results, command)
