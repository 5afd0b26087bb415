"""Several methods on the same data, budget and seeds, trained in turn; then figures and a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hebae.config import DataSettings, Settings
from hebae.data import Dataset, load
from hebae.errors import HebaeError
from hebae.experiments.gallery import Subject, draw_gallery
from hebae.experiments.measures import Measures, measure
from hebae.experiments.summary import summarise
from hebae.files import clear, make_folder, require_only, write_atomically
from hebae.provenance import provenance
from hebae.report.methods import display_name
from hebae.report.page import Picture as PagePicture
from hebae.report.page import Section, write_page
from hebae.report.tables import Table
from hebae.storage import RunFolder, load_model
from hebae.training import session
from hebae.training.callbacks import Callback

__all__ = ["PlannedRun", "PreparedRun", "plan", "prepare", "run"]

MARK = "comparison.json"
"""The file by which a folder is known to hold a comparison."""

NAMES = (MARK, "comparison.md", "comparison.csv", "report.html", "figures", "runs")
"""What a comparison puts into its folder."""


@dataclass(frozen=True)
class PlannedRun:
    """One training of a comparison, not yet checked."""

    method: str
    seed: int
    settings: Settings

    @property
    def label(self) -> str:
        """Name of the run's folder."""
        return f"{self.method}-seed{self.seed}"


@dataclass(frozen=True)
class PreparedRun:
    """One training that has passed every check."""

    label: str
    prepared: session.Prepared


def plan(by_method: Mapping[str, Settings], seeds: Sequence[int] | None) -> list[PlannedRun]:
    """One run a seed and method; the methods of a seed one after the other.

    Raises
    ------
    HebaeError
        If the methods' settings differ in data, a seed is named twice, or devices are several.
    """
    first = next(iter(by_method.values()))
    for name in DataSettings.model_fields:
        if len({getattr(settings, name) for settings in by_method.values()}) > 1:
            raise HebaeError(
                f"the methods to compare have unlike settings of {name}; a comparison is on the "
                "same data for all."
            )
    if any(settings.devices > 1 for settings in by_method.values()):
        raise HebaeError("compare trains on one device; leave out --devices.")
    seeds = [first.seed] if seeds is None else seeds
    if len(set(seeds)) < len(seeds):
        raise HebaeError(f"--seeds names one seed twice: {' '.join(map(str, seeds))}.")
    return [
        PlannedRun(method, seed, settings.replace(seed=seed))
        for seed in seeds
        for method, settings in by_method.items()
    ]


def prepare(
    runs: Sequence[PlannedRun], told: Callable[[Sequence[str]], None] = lambda notes: None
) -> list[PreparedRun]:
    """Load the data once and check every run, so that no error waits behind an hour of training."""
    settings = runs[0].settings
    dataset = load(
        settings.data, data_dir=settings.data_dir, validation_size=settings.validation_size
    )
    by_label = {run.label: run.settings for run in runs}
    prepared = [PreparedRun(*pair) for pair in session.prepare_alike(by_label, dataset)]
    told(list(dict.fromkeys(note for run in prepared for note in run.prepared.notes)))
    return prepared


def run(
    runs: Sequence[PreparedRun],
    output: Path,
    *,
    command: str,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Callable[[Settings], Collection[Callback]] = lambda settings: (),
) -> Table | None:
    """Train the runs in turn into folders beneath `output`, then draw and tabulate them.

    Parameters
    ----------
    runs : sequence of PreparedRun
    output : Path
        Gets ``runs/``, ``figures/``, ``comparison.json``, ``.md`` and ``.csv``, ``report.html``.
    command : str
        For the provenance.
    resume, overwrite : bool
        What to do with a comparison that is there already: keep its finished runs, or replace it.
    callbacks : callable
        From a run's settings to what is to be told of it.

    Returns
    -------
    Table or None
        None if it was interrupted.
    """
    identity = {run.label: run.prepared.settings.model_dump(mode="json") for run in runs}
    _open(output, identity, resume=resume, overwrite=overwrite)
    measured: dict[str, list[Measures]] = {}
    subjects: dict[str, Subject] = {}
    histories: dict[str, list[list[dict[str, Any]]]] = {}
    for run in runs:
        if not _train(run, output / "runs" / run.label, command, callbacks):
            return None
        folder = RunFolder(output / "runs" / run.label)
        method = run.prepared.settings.method
        model, _ = load_model(folder.path)
        history = folder.history()
        if not history:
            raise HebaeError(f"{folder.metrics} is missing or empty; remove {folder.path}.")
        numbers = measure(model, run.prepared.settings, run.prepared.dataset, history[-1])
        measured.setdefault(method, []).append(numbers)
        histories.setdefault(method, []).append(history)
        subjects.setdefault(method, Subject(model, numbers.covariance))
    return _report(runs, output, command, identity, measured, subjects, histories)


def _train(
    run: PreparedRun,
    path: Path,
    command: str,
    callbacks: Callable[[Settings], Collection[Callback]],
) -> bool:
    """Train a run unless it is finished; whether it was not interrupted."""
    folder = RunFolder(path)
    if folder.is_finished:
        return True
    outcome = session.run(
        run.prepared, path, command=command, resuming=folder.is_run, callbacks=callbacks
    )
    return not outcome.interrupted


def _open(output: Path, identity: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    mark = output / MARK
    if mark.is_file():
        if overwrite:
            require_only(output, NAMES)
            clear(output, NAMES)
        elif not resume:
            raise HebaeError(
                f"{output} holds a comparison already; --resume goes on with it, --overwrite "
                "replaces it, or name another --output."
            )
        else:
            try:
                stored = json.loads(mark.read_text(encoding="utf-8"))["runs"]
            except (ValueError, KeyError, TypeError):
                raise HebaeError(f"{mark} is altered; start anew with --overwrite.") from None
            if stored != identity:
                raise HebaeError(
                    f"{output} holds a comparison with other settings, methods or seeds; give the "
                    "same as then with --resume, or name another --output."
                )
            return
    elif output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise HebaeError(f"--output {output} holds files of another kind; name another folder.")
    elif resume:
        raise HebaeError(f"{output} holds no comparison to go on with; leave out --resume.")
    make_folder(output, "--output")
    _write_json(mark, {"runs": identity})


def _report(
    runs: Sequence[PreparedRun],
    output: Path,
    command: str,
    identity: dict[str, Any],
    measured: dict[str, list[Measures]],
    subjects: dict[str, Subject],
    histories: dict[str, list[list[dict[str, Any]]]],
) -> Table:
    dataset: Dataset = runs[0].prepared.dataset
    settings = runs[0].prepared.settings
    figures = draw_gallery(subjects, histories, dataset, output / "figures")
    by_method: dict[str, Settings] = {
        run.prepared.settings.method: run.prepared.settings for run in runs
    }
    table = summarise(measured, by_method, dataset.shape)
    origin = provenance(command, dataset, settings, [run.prepared.settings.seed for run in runs])
    numbers = {method: [m.numbers() for m in seeds] for method, seeds in measured.items()}
    _write_json(output / MARK, {"runs": identity, "provenance": origin, "measures": numbers})
    for suffix, text in (("md", table.to_markdown()), ("csv", table.to_csv())):
        write_atomically(
            output / f"comparison.{suffix}",
            partial(Path.write_text, data=text, encoding="utf-8"),
        )
    names = ", ".join(display_name(method) for method in measured)
    pictures = [
        Section(figure.title, [PagePicture(figure.path.read_bytes(), figure.title, figure.caption)])
        for figure in figures
    ]
    write_page(
        output / "report.html",
        f"{names} on {dataset.name}",
        [Section("Results", [table]), *pictures, Section("Provenance", [origin])],
    )
    return table


def _write_json(path: Path, values: dict[str, Any]) -> None:
    text = json.dumps(values, indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
