"""`hebae sweep`: every combination of some settings' values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hebae.experiments.figures import code_maps, explore
from hebae.experiments.plan import Axis, as_text
from hebae.experiments.runner import ExperimentFolder
from hebae.experiments.table import numbers, summary_rows
from hebae.experiments.trained_run import RunResult
from hebae.files import make_folder
from hebae.report import style
from hebae.report.charts import Chart, LinePanel, Scale
from hebae.report.lines import line_grid
from hebae.report.methods import display_name
from hebae.report.page import Section
from hebae.report.tables import Row, Table, Undefined

REASONS_SHOWN = 3
MOST_LINES = 15
MOST_MAPS = 12
_PENALTY = "objective.penalty."
_BRIEF = {
    "objective.reconstruction": "recon.",
    "moments.median_sigma": "sigma",
    "moments.mean_abs_correlation.mean": "|corr.|",
    "training.seconds": "seconds",
}


def report_sweep(
    axes: Sequence[Axis], folder: ExperimentFolder, runs: Sequence[RunResult], command: str
) -> Table:
    """Write tables, figure and page of a sweep into its folder; return a table for a console."""
    over, data = ", ".join(axis.name for axis in axes), runs[0].dataset.name
    records = [flat(run) for run in runs]
    title = f"{data}: {len(runs):,} runs over {over}"
    table = tabulate_runs(runs, title)
    drawn = draw(axes, runs)
    if isinstance(drawn, str):
        sections = [Section("Figure", [drawn])]
    else:
        panels, heading, caption = drawn
        figure = line_grid([[panel] for panel in panels])
        make_folder(folder.figures)
        for suffix in ("png", "pdf"):
            style.save(figure, folder.figures / f"sweep.{suffix}")
        sections = [Section(heading, [Chart(heading, panels, caption)])]
    sections.append(Section("Results", [table]))
    finished = [run for run in runs if not run.diverged]
    rows = dict.fromkeys([0, *range(0, len(finished), max(1, len(finished) // MOST_MAPS))])
    some = [finished[row] for row in rows][:MOST_MAPS] if finished else []
    note = "" if len(some) == len(finished) else f"{len(some)} of {len(finished)} runs."
    opened = {run.label: run.open() for run in some}
    sections += [*code_maps(opened, note), *explore(opened.items())]
    heading = f"A sweep over {over} on {data}"
    folder.publish(runs, table, heading, sections, {"results": records}, command, records)
    return tabulate_runs(runs, title, brief=True)


def tabulate_runs(runs: Sequence[RunResult], title: str, *, brief: bool = False) -> Table:
    """Make a table with one row per run, named by its values; `brief` to fit into 80 letters."""
    heads = summary_rows(runs)
    del heads["training.milliseconds_per_step"]
    if brief:
        del heads["objective.excess"]
        heads |= {id: _BRIEF[id] for id in heads if id in _BRIEF}
    else:
        units = {id: one.unit for run in runs for id in heads if (one := run.measurement(id))}
        units.pop(_PENALTY, None)  # each method has its own
        heads = {
            id: f"{name} ({units[id]})" if units.get(id) else name for id, name in heads.items()
        }

    def cell(run: RunResult, id: str) -> str | Undefined:
        one = run.measurement(id)
        if one is None or one.value is None:
            return Undefined(one.undefined if one else "the method has no such term")
        error = None if brief else one.standard_error
        return f"{one.value:{one.format}}" + ("" if error is None else f" ± {error:.2g}")

    rows = []
    for run in runs:
        name = ", ".join(map(as_text, run.values.values()))
        marked = ["diverged", *["–"] * (len(heads) - 1)]
        rows.append(Row(name, marked if run.diverged else [cell(run, id) for id in heads]))
    notes = []
    if split := next((run.split for run in runs if not run.diverged), None):
        notes.append(
            f"Means over {split} examples. Each method has its own objective and penalty: they "
            "are not comparable between methods."
        )
    diverged = [run for run in runs if run.diverged]
    notes += [f"{run.label}: {run.reason}" for run in diverged[:REASONS_SHOWN]]
    if len(diverged) > REASONS_SHOWN:
        notes.append(f"{len(diverged) - REASONS_SHOWN} more diverged; sweep.csv says why.")
    return Table(title, list(heads.values()), rows, notes)


def flat(run: RunResult) -> dict[str, Any]:
    """Return a run as names and numbers on one level, in full precision, for JSON and CSV."""
    found: dict[str, Any] = {"run": run.label}
    for name, value in run.values.items():
        found[name] = as_text(value) if isinstance(value, tuple) else value
    found |= {"state": "diverged" if run.diverged else "finished", "reason": run.reason}
    if not run.diverged:
        values = numbers(run)
        penalties = values.pop("penalty")
        found |= values | {f"penalty_{name}": value for name, value in penalties.items()}
    return found


def draw(axes: Sequence[Axis], runs: Sequence[RunResult]) -> tuple[list[LinePanel], str, str] | str:
    """Choose panels of reconstruction and penalties over the longest numeric axis.

    There is a line per combination of the other axes, and median and range over several seeds. Each
    penalty has its own panel, since penalties are different quantities. Returned are panels, title
    and caption, or a sentence that says why there is no figure.
    """
    numeric = [a for a in axes if _is_numeric(a) and a.name != "seed" and len(a.values) > 1]
    if not numeric:
        return "No figure: only the seed has several numeric values."
    across = max(numeric, key=lambda axis: len(axis.values)).name
    finished = [run for run in runs if not run.diverged]
    if not finished:
        return "No figure: every run diverged."
    lines: dict[str, list[RunResult]] = {}
    names = [axis.name for axis in axes if axis.name not in (across, "seed")]
    several = [n for n in names if len({run.values[n] for run in finished}) > 1]
    for run in finished:
        label = ", ".join(_label(name, run.values[name]) for name in several)
        lines.setdefault(label or display_name(run.settings.method), []).append(run)
    if len(lines) > MOST_LINES:
        return f"No figure: it would have {len(lines)} lines. The numbers are in sweep.csv."

    x_label = across.replace("_", " ")
    ids = {"objective.reconstruction": "nats"}
    for one in (one for run in finished for one in run.measurements):
        if one.id.startswith(_PENALTY) and one.value is not None:
            ids[one.id] = one.unit or "no unit"
    panels = []
    for id, unit in ids.items():
        title, note = "Reconstruction", "−log p(x|z)"
        if id.startswith(_PENALTY):
            title, note = f"Penalty: {id.removeprefix(_PENALTY)}", "before its weight"
        drawn = {
            label: line for label, members in lines.items() if (line := _line(members, id, across))
        }
        values = [value for line in drawn.values() for seeds in line.values() for value in seeds]
        scale: Scale = "log" if 0 < 30 * min(values, default=0) < max(values) else "linear"
        panels.append(LinePanel(drawn, title, note, x_label, unit, "as given", scale))
    seeds = len({run.settings.seed for run in finished})
    caption = [f"After training, on {finished[0].split} examples."]
    if seeds > 1:
        caption.append("Lines are medians over the seeds; bands show the smallest and largest.")
    if missing := len(runs) - len(finished):
        caption.append(f"{missing} of {len(runs)} runs diverged and are left out.")
    return panels, f"Reconstruction and penalty against {x_label}", " ".join(caption)


def _is_numeric(axis: Axis) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in axis.values)


def _label(name: str, value: Any) -> str:
    return display_name(value) if name == "method" else f"{name.replace('_', ' ')} {as_text(value)}"


def _line(runs: Sequence[RunResult], id: str, across: str) -> dict[float, list[float]]:
    """Return the values of the seeds by their place on the x axis."""
    line: dict[float, list[float]] = {}
    for run in runs:
        if (value := run.value(id)) is not None:
            line.setdefault(run.values[across], []).append(value)
    return line
