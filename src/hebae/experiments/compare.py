"""`hebae compare`: several methods on the same data, budget and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hebae.experiments.figures import draw_models
from hebae.experiments.metrics.bounds import not_white
from hebae.experiments.runner import ExperimentFolder, RunResult
from hebae.experiments.table import Column, numbers, summary_rows, tabulate
from hebae.experiments.trained_run import TrainedRun
from hebae.provenance import provenance
from hebae.report.methods import display_name
from hebae.report.page import Section
from hebae.report.tables import Table
from hebae.training.checks import weight_of_mean_squared_error
from hebae.training.many import Job

__all__ = ["report_comparison"]


def report_comparison(
    folder: ExperimentFolder, jobs: Sequence[Job], results: Sequence[RunResult], command: str
) -> Table:
    """Write table, figures and page of a comparison into its folder; return the table."""
    dataset = jobs[0].prepared.dataset
    by_method: dict[str, list[RunResult]] = {}
    for result in results:
        by_method.setdefault(result.settings.method, []).append(result)
    finished = {
        method: [one for one in runs if not one.diverged] for method, runs in by_method.items()
    }
    table = _tabulate(by_method, finished, dataset.name, dataset.shape)
    seeds = list(dict.fromkeys(result.settings.seed for result in results))
    origin = provenance(command, dataset, results[0].settings, seeds)
    measures = {
        method: [numbers(one.measurements, one.split) for one in runs]
        for method, runs in finished.items()
    }
    diverged = {one.label: one.reason for one in results if one.diverged}
    content = {"provenance": origin, "measures": measures, "diverged": diverged}
    folder.write_mark(jobs, content)
    folder.write("comparison.md", table.to_markdown())
    folder.write("comparison.csv", table.to_csv())
    opened = {
        method: [TrainedRun.held_out(one.path, dataset, one.settings.device) for one in runs]
        for method, runs in finished.items()
        if runs
    }
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
    methods = ", ".join(map(display_name, by_method))
    results_section = Section("Results", [table])
    origin_section = Section("Provenance", [origin])
    title = f"{methods} on {dataset.name}"
    folder.write_page(title, [results_section], pictures, origin_section)
    return table


def _which(shown: Mapping[str, int], seeds: int) -> str:
    """Say which seed a figure shows, if the table shows several."""
    if seeds == 1:
        return ""
    which = f"The models of seed {min(shown.values())}"
    if len(set(shown.values())) > 1:
        each = (f"{display_name(method)} {seed}" for method, seed in shown.items())
        which = f"One model per method (seeds: {', '.join(each)})"
    return f" {which}; the table shows medians over {seeds} seeds."


def _tabulate(
    by_method: Mapping[str, Sequence[RunResult]],
    finished: Mapping[str, Sequence[RunResult]],
    data: str,
    shape: Sequence[int],
) -> Table:
    first = next(iter(by_method.values()))[0]
    columns, penalties, warnings = [], [], []
    for method, runs in by_method.items():
        name, settings = display_name(method), runs[0].settings
        done = [one.measurements for one in finished[method]]
        columns.append(Column(name, settings.likelihood, done, len(runs) - len(done)))
        own = [one for one in (done[0] if done else ()) if one.id.startswith("objective.penalty.")]
        terms = [
            f"{one.name.removeprefix('penalty: ')} ({one.unit or 'no unit'}, {one.detail})"
            for one in own
            if one.value is not None
        ]
        pixels = weight_of_mean_squared_error(settings, shape)
        as_mse = "" if pixels is None else f" ({pixels:g} of the mean squared error of [-1, 1])"
        penalties += [f"{name} {' and '.join(terms)}{as_mse}"] if terms else []
        white = [
            text for one in finished[method] if (text := not_white(one.measurements, one.split))
        ]
        seeds = f" ({len(white)} of {len(runs)} seeds)" if len(runs) > 1 else ""
        warnings += [f"{name}{seeds}: {white[0]}"] if white else []
    notes = [f"Penalties: {'; '.join(penalties)}."] if penalties else []
    if first.settings.likelihood == "bernoulli":
        notes.append("The Bernoulli cross-entropy of grey levels is not a normalised density.")
    notes.append(
        "Each method has its own objective: objectives and penalties are not comparable between "
        "methods. Correlation: off-diagonal, of the posterior means."
    )
    every = [one for runs in by_method.values() for one in runs]
    notes += [f"{one.label} diverged: {one.reason}" for one in every if one.diverged]
    split = next((one.split for one in every if one.split), "no")
    epochs = " or ".join(dict.fromkeys(str(one.settings.epochs) for one in every))
    return tabulate(
        columns,
        f"{data}, k = {first.settings.latent_dim}, {epochs} epochs: {split} examples",
        [*notes, *warnings],
        ids=summary_rows(one.measurements for one in every),
    )
