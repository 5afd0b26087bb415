"""The folder of an experiment and the runs in it: check, train, measure.

`compare`, `sweep` and `evaluate --output` share this protocol. A folder is recognised by its mark,
a JSON file with the settings of all runs. It is created with ``--output``, continued with
``--resume`` (finished runs are kept, further runs may be added, none may be left out or changed)
and replaced with ``--overwrite``. Folders with other content are never touched. One process holds
the folder at a time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hebae.config import AFFECT_ROUNDING, MAY_CHANGE_ON_RESUME, Settings
from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.experiments.cluster import Cluster
from hebae.experiments.cluster_runs import measure_each, train_on
from hebae.experiments.measure import take
from hebae.experiments.metrics.bounds import training
from hebae.experiments.plan import PlannedRun, common_settings
from hebae.experiments.settings import held_out
from hebae.experiments.trained_run import RunResult
from hebae.files import make_folder, read_json, require_folder, write_text
from hebae.folders import LOCK_FILES, clear, locked, require_only
from hebae.provenance import provenance
from hebae.report.page import Section, write_page
from hebae.report.tables import Table, to_csv
from hebae.run_folder import RunFolder
from hebae.training.loggers import MLFLOW_ARTIFACTS, MLFLOW_FILE
from hebae.training.many import Job, Watcher, train_all, train_in_turn

_MAY_CHANGE = (MAY_CHANGE_ON_RESUME | AFFECT_ROUNDING) - {"epochs"}


class ExperimentFolder:
    """The folder `path` of an experiment of a kind, such as "sweep"; its mark holds `content`."""

    def __init__(self, path: Path, kind: str, content: Mapping[str, Any] | None = None) -> None:
        self.content = dict(content or {})
        self.path = path
        self.kind = kind
        self.mark = path / ("evaluation-table.json" if kind == "evaluation" else f"{kind}.json")
        self.runs = path / "runs"
        self.figures = path / "figures"
        self.page = path / "report.html"
        names = [self.mark.name, f"{kind}.csv", f"{kind}.md", "report.html", "figures", "runs"]
        names += ["evaluations", MLFLOW_FILE, MLFLOW_ARTIFACTS]
        self.names = (*names, *(("journal.log", "best.yaml") if kind == "tune" else ()))

    def require_usable(self, *, resume: bool, overwrite: bool) -> None:
        """Raise a HebaeError unless the experiment may be started or resumed here."""
        require_folder(self.path, "--output")
        if self.mark.is_file():
            if overwrite:
                require_only(self.path, self.names)
            elif not resume:
                raise HebaeError(
                    f"{self.path} already holds a {self.kind}; --resume continues it, --overwrite "
                    "replaces it, or name another --output."
                )
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
        """Create the folder, or empty it with `overwrite`, and keep other processes out.

        If the block raises a HebaeError before it has written anything, a new folder is removed.
        """
        self.require_usable(resume=resume, overwrite=overwrite)
        is_new = not self.path.exists()
        make_folder(self.path, "--output")
        try:
            with locked(self.path):
                if overwrite:
                    clear(self.path, self.names)
                yield
        except HebaeError:
            with suppress(OSError):  # it may have vanished, which is what is said then
                if is_new and all(file.name in LOCK_FILES for file in self.path.iterdir()):
                    shutil.rmtree(self.path)
            raise

    def require_same(self, wanted: Mapping[str, Settings]) -> None:
        """Raise a HebaeError if the folder holds runs or settings that `wanted` does not have."""
        stored = read_json(self.mark, "start again with --overwrite")
        try:
            shared = stored.get("settings", {})
            before = {label: shared | rest for label, rest in stored["runs"].items()}
        except (KeyError, TypeError, AttributeError):
            raise HebaeError(f"{self.mark} is altered; start again with --overwrite.") from None
        for label, values in before.items():
            if label not in wanted:
                raise HebaeError(
                    f"{self.path} holds a {self.kind} with the run {label}, which was not "
                    "requested; with --resume give all its earlier runs, or name another --output."
                )
            # A setting that an older version did not have has its default.
            settings = Settings.checked(values, str(self.mark))
            for name in sorted(Settings.model_fields.keys() - _MAY_CHANGE):
                was, now = getattr(settings, name), getattr(wanted[label], name)
                if was != now:
                    raise HebaeError(
                        f"{self.path} holds a {self.kind} with {name} {was!r}, but {now!r} was "
                        f"requested ({label}); give the same settings with --resume, or name "
                        "another --output."
                    )

    def write_mark(self, content: Mapping[str, Any], runs: Mapping[str, Settings]) -> None:
        """Write the mark: the settings that all runs share, those of each, and `content`."""
        common, own = common_settings(runs.values())
        if self.kind == "comparison":  # few runs: each with all its settings
            common, own = {}, [common | rest for rest in own]
        by_label = dict(zip(runs, own, strict=True))
        content = {**self.content, **content}
        kept = {"settings": common, "runs": by_label, **content}
        kept = {name: value for name, value in kept.items() if value or name in content}
        write_text(self.mark, json.dumps(kept, indent=2, allow_nan=False) + "\n")

    def publish(
        self,
        results: Sequence[RunResult],
        table: Table,
        title: str,
        sections: Sequence[Section],
        content: Mapping[str, Any],
        command: str,
        records: Sequence[Mapping[str, Any]] | None = None,
        origin: Mapping[str, str] | None = None,
    ) -> None:
        """Write the mark (see `write_mark`), the table as Markdown and CSV, and ``report.html``.

        The page holds `sections`, then the provenance: `origin`, if it is not that of the results.
        `records` replace the table's own in the CSV file.
        """
        if origin is None:
            first, seeds = results[0], [one.settings.seed for one in results]
            origin = provenance(command, first.dataset, first.settings, seeds)
        settings = {one.label: one.settings for one in results}
        if self.kind == "evaluation":  # the runs are elsewhere, with their settings
            origin, settings = {**origin, "runs": ", ".join(settings)}, {}
        self.write_mark({"provenance": origin, **content}, settings)
        rows = table.records() if records is None else records
        write_text(self.path / f"{self.kind}.csv", to_csv(rows))
        write_text(self.path / f"{self.kind}.md", table.to_markdown())
        write_page(self.page, title, [*sections, Section("Provenance", [origin])])


def joint_provenance(
    command: str, datasets: Iterable[Dataset], runs: Sequence[RunResult]
) -> dict[str, str]:
    """Return where the numbers of runs come from: this command, and their trainings."""

    def each(values: Iterable[object]) -> str:
        return ", ".join(dict.fromkeys(map(str, values)))

    seeds = sorted({run.settings.seed for run in runs})
    origins = [provenance(command, dataset, runs[0].settings, seeds) for dataset in datasets]
    trained = [entry for run in runs for entry in RunFolder(run.path).origins()]
    return {
        "runs": str(len(runs)),
        **origins[0],
        "data": "; ".join(origin["data"] for origin in origins),
        "epochs": each(run.settings.epochs for run in runs),
        "trained by commit": each(entry.get("commit", "unknown") for entry in trained),
        "trained on": each(entry.get("machine", "unknown") for entry in trained),
    }


def train_runs(
    planned: Sequence[PlannedRun],
    jobs: Sequence[Job],
    *,
    command: str,
    watcher: Watcher | None = None,
    retry_diverged: bool = False,
    cluster: Cluster | None = None,
) -> list[RunResult] | None:
    """Train the runs that are not finished, stacked where that pays; nothing is measured yet.

    A run that diverges is marked and does not stop the others; with `retry_diverged`, runs that
    diverged earlier are trained again. `watcher` receives the progress of the trainings, which are
    tasks of `cluster` if there is one. The result is None if the training was interrupted.
    """
    for job in jobs:
        if retry_diverged and job.folder.divergence.is_file():
            clear(job.path, RunFolder.NAMES)
    train = train_in_turn if cluster is None else partial(train_on, cluster)
    results = train_all(jobs, command=command, watcher=watcher, train=train)
    if any(result.state == "interrupted" for result in results):
        return None
    return [
        RunResult(
            run.label,
            job.prepared.settings,
            run.values,
            path=job.path,
            dataset=job.prepared.dataset,
            evaluation=held_out(job.prepared.dataset, job.prepared.settings.device),
            reason=(result.message or "it diverged") if result.state == "diverged" else "",
        )
        for run, job, result in zip(planned, jobs, results, strict=True)
    ]


def summarise(result: RunResult, *, progress: Callable[[str], None]) -> RunResult:
    """Take the metrics ``objective`` and ``moments`` and the training time; store nothing."""
    if result.diverged:
        return result
    progress("measuring")
    run = result.open()
    return replace(result, measurements=[*take(run, ("objective", "moments")), *training(run)])


def run_experiment(
    folder: ExperimentFolder,
    planned: Sequence[PlannedRun],
    jobs: Sequence[Job],
    report: Callable[[ExperimentFolder, Sequence[RunResult], str], Table],
    *,
    command: str,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda message: None,
    cluster: Cluster | None = None,
    **training_options: Any,
) -> Table | None:
    """Train the runs into `folder`, then tabulate and draw them; None if it was interrupted.

    `planned` and `jobs` have the same length, see `hebae.experiments.plan`. `report` gets the
    folder, the results and the command, writes tables, figures and page, and returns the
    table. With `resume`, the finished runs are kept, with `overwrite` all are replaced. `progress`
    receives a message before each step after training; for the other keywords see `train_runs`.
    Runs are trained and measured by tasks of `cluster`, if there is one.
    """
    with folder.hold(resume=resume, overwrite=overwrite):
        settings = {job.label: job.prepared.settings for job in jobs}
        if folder.mark.is_file():
            folder.require_same(settings)
        folder.write_mark({}, settings)
        trained = train_runs(planned, jobs, command=command, cluster=cluster, **training_options)
        if trained is None:
            return None
        results = measure_each([(one, summarise) for one in trained], progress, cluster)
        if results is None:
            return None
        progress("drawing the figures")
        return report(folder, results, command)
