"""`hebae compare`: several methods on the same data, budget and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hebae.data import Dataset
from hebae.experiments.figures import as_sections, draw_models
from hebae.experiments.metrics.bounds import not_white
from hebae.experiments.runner import ExperimentFolder, RunResult
from hebae.experiments.table import Column, numbers, summary_rows, tabulate
from hebae.experiments.trained_run import TrainedRun
from hebae.provenance import provenance
from hebae.report.methods import display_name
from hebae.report.page import Section
from hebae.report.tables import Table
from hebae.training.checks import weight_of_mean_squared_error

ByMethod = Mapping[str, Sequence[RunResult]]


def report_comparison(
    folder: ExperimentFolder, dataset: Dataset, results: Sequence[RunResult], command: str
) -> Table:
    """Write table, figures and page of a comparison into its folder; return the table."""
    methods = dict.fromkeys(result.settings.method for result in results)
    by_method = {m: [one for one in results if one.settings.method == m] for m in methods}
    finished = {m: [one for one in runs if not one.diverged] for m, runs in by_method.items()}
    opened = {
        method: [TrainedRun.held_out(one.path, dataset, one.settings.device) for one in runs]
        for method, runs in finished.items()
        if runs
    }
    table = _tabulate(by_method, finished, dataset)
    seeds = list(dict.fromkeys(result.settings.seed for result in results))
    pictures = []
    if opened:
        shown = {method: runs[0] for method, runs in opened.items()}
        pictures = draw_models(
            shown,
            {method: [run.history for run in runs] for method, runs in opened.items()},
            folder.figures,
            samplers=("normal", "mixture"),
            note=_which({m: run.settings.seed for m, run in shown.items()}, len(seeds)),
        )
    content = {
        "provenance": provenance(command, dataset, results[0].settings, seeds),
        "measures": {
            method: [numbers(one.measurements, one.split) for one in runs]
            for method, runs in finished.items()
        },
        "diverged": {one.label: one.reason for one in results if one.diverged},
    }
    title = f"{', '.join(map(display_name, methods))} on {dataset.name}"
    sections = [Section("Results", [table]), *as_sections(pictures)]
    folder.publish(table, content, {one.label: one.settings for one in results}, title, sections)
    return table


def _which(shown: Mapping[str, int], seeds: int) -> str:
    """Say which seed a figure shows, if the table shows several."""
    if seeds == 1:
        return ""
    if len(set(shown.values())) == 1:
        return f"seed {min(shown.values())}"
    each = (f"{seed} ({display_name(method)})" for method, seed in shown.items())
    return f"seeds {', '.join(each)}"


def _tabulate(by_method: ByMethod, finished: ByMethod, dataset: Dataset) -> Table:
    columns, penalties, warnings = [], [], []
    for method, runs in by_method.items():
        name, settings = display_name(method), runs[0].settings
        done = [one.measurements for one in finished[method]]
        columns.append(Column(name, settings.likelihood, done, len(runs) - len(done)))
        terms = [
            f"{one.name.removeprefix('penalty: ')} ({one.unit or 'no unit'}, {one.detail})"
            for one in (done[0] if done else ())
            if one.id.startswith("objective.penalty.") and one.value is not None
        ]
        pixels = weight_of_mean_squared_error(settings, dataset.shape)
        as_mse = "" if pixels is None else f" ({pixels:g} relative to the mean squared error)"
        penalties += [f"{name} {' and '.join(terms)}{as_mse}"] if terms else []
        white = [not_white(one.measurements, one.split) for one in finished[method]]
        white = [warning for warning in white if warning]
        seeds = f" ({len(white)} of {len(runs)} seeds)" if len(runs) > 1 else ""
        warnings += [f"{name}{seeds}: {white[0]}"] if white else []
    every = [one for runs in by_method.values() for one in runs]
    notes = [f"Penalties: {'; '.join(penalties)}."] if penalties else []
    if every[0].settings.likelihood == "bernoulli":
        notes.append("The Bernoulli cross-entropy of grey levels is not a normalised density.")
    notes.append(
        "Each method has its own objective: objectives and penalties are not comparable between "
        "methods. Correlation: off-diagonal, of the posterior means."
    )
    notes += [f"{one.label} diverged: {one.reason}" for one in every if one.diverged]
    measured = next((f"{one.split} examples" for one in every if one.split), "every run diverged")
    epochs = " or ".join(dict.fromkeys(str(one.settings.epochs) for one in every))
    return tabulate(
        columns,
        f"{dataset.name}, k = {every[0].settings.latent_dim}, {epochs} epochs: {measured}",
        [*notes, *warnings],
        ids=summary_rows(one.measurements for one in every),
    )
