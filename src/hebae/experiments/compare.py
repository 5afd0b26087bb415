"""`hebae compare`: several methods on the same data, budget and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hebae.data import Dataset
from hebae.experiments.figures import draw_models
from hebae.experiments.runner import ExperimentFolder
from hebae.experiments.table import Columns, numbers, summary_rows, tabulate, whiteness_notes
from hebae.experiments.trained_run import RunResult, TrainedRun
from hebae.provenance import provenance
from hebae.report.methods import display_name
from hebae.report.page import Section
from hebae.report.tables import Table
from hebae.training.checks import weight_of_mean_squared_error


def report_comparison(
    folder: ExperimentFolder, dataset: Dataset, results: Sequence[RunResult], command: str
) -> Table:
    """Write table, figures and page of a comparison into its folder; return the table."""
    columns: dict[str, list[RunResult]] = {}
    for one in results:
        columns.setdefault(display_name(one.method), []).append(one)
    finished = [one for one in results if not one.diverged]
    opened: dict[str, list[TrainedRun]] = {}
    for one in finished:
        opened.setdefault(one.method, []).append(one.open())
    table = _tabulate(columns, results)
    seeds = list(dict.fromkeys(one.settings.seed for one in results))
    drawn = {}
    if opened:
        shown = {method: runs[0] for method, runs in opened.items()}
        drawn = draw_models(
            shown,
            {method: [run.history for run in runs] for method, runs in opened.items()},
            folder.figures,
            samplers=("normal", "mixture"),
            note=_which({m: run.settings.seed for m, run in shown.items()}, len(seeds)),
        )
    measures: dict[str, list[Any]] = {one.method: [] for one in results}
    for one in finished:
        measures[one.method].append(numbers(one))
    content = {
        "provenance": provenance(command, dataset, results[0].settings, seeds),
        "measures": measures,
        "diverged": {one.label: one.reason for one in results if one.diverged},
    }
    title = f"{', '.join(columns)} on {dataset.name}"
    sections = [Section("Results", [table]), *drawn.values()]
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


def _tabulate(columns: Columns, results: Sequence[RunResult]) -> Table:
    penalties = []
    for name, runs in columns.items():
        terms = [
            f"{one.name.removeprefix('penalty: ')} ({one.unit or 'no unit'}, {one.detail})"
            for one in next((run.measurements for run in runs if not run.diverged), ())
            if one.id.startswith("objective.penalty.") and one.value is not None
        ]
        pixels = weight_of_mean_squared_error(runs[0].settings, runs[0].dataset.shape)
        as_mse = "" if pixels is None else f" ({pixels:g} relative to the mean squared error)"
        penalties += [f"{name} {' and '.join(terms)}{as_mse}"] if terms else []
    notes = [f"Penalties: {'; '.join(penalties)}."] if penalties else []
    settings = results[0].settings
    if settings.likelihood == "bernoulli":
        notes.append("The Bernoulli cross-entropy of grey levels is not a normalised density.")
    notes.append(
        "Each method has its own objective: objectives and penalties are not comparable between "
        "methods. Correlation: off-diagonal, of the posterior means."
    )
    notes += [f"{one.label} diverged: {one.reason}" for one in results if one.diverged]
    split = next((f"{one.split} examples" for one in results if not one.diverged), None)
    epochs = " or ".join(dict.fromkeys(str(one.settings.epochs) for one in results))
    return tabulate(
        columns,
        f"{results[0].dataset.name}, k = {settings.latent_dim}, {epochs} epochs: "
        f"{split or 'every run diverged'}",
        [*notes, *whiteness_notes(columns)],
        ids=summary_rows(results),
    )
