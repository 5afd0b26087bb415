"""`hebae compare`: several methods on the same data, budget and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hebae.experiments.figures import draw_models
from hebae.experiments.metrics.bounds import not_white
from hebae.experiments.plan import PlannedRun
from hebae.experiments.runner import ExperimentFolder, RunResult, run_all
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.table import Column, numbers, summary_rows, tabulate
from hebae.experiments.trained_run import TrainedRun
from hebae.provenance import provenance
from hebae.report.methods import display_name
from hebae.report.page import Section
from hebae.report.tables import Table
from hebae.training.checks import weight_of_mean_squared_error
from hebae.training.many import Job, Watcher

__all__ = ["KIND", "compare"]

KIND = "comparison"


def compare(
    planned: Sequence[PlannedRun],
    jobs: Sequence[Job],
    output: Path,
    *,
    command: str,
    resume: bool = False,
    overwrite: bool = False,
    retry_diverged: bool = False,
    watcher: Watcher | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Table | None:
    """Train the runs into folders in `output`, then tabulate and draw them.

    Parameters
    ----------
    planned, jobs : sequences of the same length
        See `hebae.experiments.plan.plan_methods` and `prepare`.
    output : Path
        Receives ``runs/``, ``figures/``, ``comparison.json``, ``.md`` and ``.csv``, and
        ``report.html``.
    command : str
        For the provenance.
    resume, overwrite : bool
        Whether to keep the finished runs of an existing comparison, or to replace it.
    retry_diverged : bool
        Whether to train runs again that diverged earlier.
    watcher : Watcher, optional
        Receives the progress of the trainings.
    progress : callable
        Receives a message before each later step.

    Returns
    -------
    Table or None
        None if the training was interrupted.

    Raises
    ------
    HebaeError
        Before any training, if the folder cannot be used.
    """
    folder = ExperimentFolder(output, KIND)
    with folder.hold(resume=resume, overwrite=overwrite):
        folder.require_same(jobs)
        folder.write_mark(jobs, {})
        results = run_all(
            planned,
            jobs,
            command=command,
            watcher=watcher,
            retry_diverged=retry_diverged,
            progress=progress,
        )
        return None if results is None else _report(folder, jobs, results, command, progress)


def _report(
    folder: ExperimentFolder,
    jobs: Sequence[Job],
    results: Sequence[RunResult],
    command: str,
    progress: Callable[[str], None],
) -> Table:
    dataset = jobs[0].prepared.dataset
    by_method: dict[str, list[RunResult]] = {}
    for result in results:
        by_method.setdefault(result.settings.method, []).append(result)
    table = _tabulate(by_method, dataset.name, dataset.shape)
    seeds = list(dict.fromkeys(result.settings.seed for result in results))
    origin = provenance(command, dataset, results[0].settings, seeds)
    folder.write_mark(
        jobs,
        {
            "provenance": origin,
            "measures": {
                method: [numbers(one.measurements, one.split) for one in runs if one.measurements]
                for method, runs in by_method.items()
            },
            "diverged": {one.label: one.reason for one in results if one.state == "diverged"},
        },
    )
    folder.write("comparison.md", table.to_markdown())
    folder.write("comparison.csv", table.to_csv())
    pictures = []
    drawn = {
        method: finished[0]
        for method, runs in by_method.items()
        if (finished := [one for one in runs if one.state == "finished"])
    }
    if drawn:
        progress("drawing the figures")
        runs = {
            method: TrainedRun(
                one.path,
                dataset,
                EvaluationSettings(split=one.split, device=one.settings.device),
            )
            for method, one in drawn.items()
        }
        histories = {
            method: [
                TrainedRun(one.path, dataset).history
                for one in by_method[method]
                if one.state == "finished"
            ]
            for method in drawn
        }
        pictures = draw_models(
            runs,
            histories,
            folder.figures,
            samplers=("normal", "mixture"),
            note=_which(drawn, len(seeds)),
        )
    methods = ", ".join(map(display_name, by_method))
    folder.write_page(
        f"{methods} on {dataset.name}",
        [Section("Results", [table])],
        pictures,
        Section("Provenance", [origin]),
    )
    return table


def _which(drawn: dict[str, RunResult], seeds: int) -> str:
    """Say which seed a figure shows, if the table shows several."""
    if seeds == 1:
        return ""
    shown = list(dict.fromkeys(one.settings.seed for one in drawn.values()))
    if len(shown) == 1:
        return f" The models of seed {shown[0]}; the table shows medians over {seeds} seeds."
    each = ", ".join(f"{display_name(m)} {one.settings.seed}" for m, one in drawn.items())
    return f" One model per method (seeds: {each}); the table shows medians over {seeds} seeds."


def _tabulate(by_method: dict[str, list[RunResult]], data: str, shape: Sequence[int]) -> Table:
    settings = {method: runs[0].settings for method, runs in by_method.items()}
    first = next(iter(settings.values()))
    every = [one for runs in by_method.values() for one in runs]
    finished = [one for one in every if one.state == "finished"]
    columns = []
    for method, runs in by_method.items():
        done = [one.measurements for one in runs if one.state == "finished"]
        diverged = len(runs) - len(done)
        columns.append(Column(display_name(method), settings[method].likelihood, done, diverged))
    notes = []
    penalties = []
    for method, runs in by_method.items():
        own = [m for one in runs for m in one.measurements if m.id.startswith("objective.penalty.")]
        if own and own[0].value is not None:
            weight = settings[method].penalty_weight
            pixels = weight_of_mean_squared_error(settings[method], shape)
            as_mse = "" if pixels is None else f" ({pixels:g} of the mean squared error of [-1, 1])"
            unit = f" in {own[0].unit}" if own[0].unit else " without unit"
            name = own[0].name.removeprefix("penalty: ")
            penalties.append(f"{display_name(method)} {name}{unit}, weight {weight:g}{as_mse}")
    if penalties:
        notes.append(f"Penalties: {'; '.join(penalties)}.")
    if first.likelihood == "bernoulli":
        notes.append("The Bernoulli cross-entropy of grey levels is not a normalised density.")
    notes.append(
        "Each method has its own objective: objectives and penalties are not comparable between "
        "methods. Correlation: off-diagonal, of the posterior means."
    )
    notes += [f"{one.label} diverged: {one.reason}" for one in every if one.state == "diverged"]
    for method, runs in by_method.items():
        warnings = [w for one in runs if (w := not_white(one.measurements, one.split))]
        if warnings:
            seeds = f" ({len(warnings)} of {len(runs)} seeds)" if len(runs) > 1 else ""
            notes.append(f"{display_name(method)}{seeds}: {warnings[0]}")
    epochs = " or ".join(map(str, dict.fromkeys(each.epochs for each in settings.values())))
    split = finished[0].split if finished else "no"
    return tabulate(
        columns,
        f"{data}, k = {first.latent_dim}, {epochs} epochs: {split} examples",
        notes,
        ids=summary_rows(one.measurements for one in finished),
    )
