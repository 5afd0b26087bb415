"""`hebae compare`: several methods on the same data, budget and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hebae.experiments.figures import draw_models, explore
from hebae.experiments.runner import ExperimentFolder
from hebae.experiments.table import Columns, numbers, summary_rows, tabulate, whiteness_notes
from hebae.experiments.trained_run import RunResult
from hebae.report.methods import display_name
from hebae.report.page import Section
from hebae.report.tables import Table
from hebae.training.checks import weight_of_mean_squared_error


def report_comparison(
    folder: ExperimentFolder, results: Sequence[RunResult], command: str
) -> Table:
    """Write table, figures and page of a comparison into its folder; return the table."""
    columns: dict[str, list[RunResult]] = {}
    for one in results:
        columns.setdefault(display_name(one.method), []).append(one)
    table = _tabulate(columns, results)
    drawn = draw_models(columns, folder.figures)
    finished = {name: [one for one in runs if not one.diverged] for name, runs in columns.items()}
    live = explore((name, runs[0].open()) for name, runs in finished.items() if runs)
    measures: dict[str, list[Any]] = {one.method: [] for one in results}
    for one in results:
        if not one.diverged:
            measures[one.method].append(numbers(one))
    content = {
        "measures": measures,
        "diverged": {one.label: one.reason for one in results if one.diverged},
    }
    title = f"{', '.join(columns)} on {results[0].dataset.name}"
    sections = [Section("Results", [table]), *drawn.values(), *live]
    folder.publish(results, table, title, sections, content, command)
    return table


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
        "methods. Correlations are those off the diagonal, of the posterior means."
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
