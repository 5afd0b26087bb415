"""`hebae sweep`: every combination of some settings' values."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hebae.experiments.figures import Picture
from hebae.experiments.measurement import Measurement, find
from hebae.experiments.plan import Axis, PlannedRun, as_text
from hebae.experiments.runner import ExperimentFolder, RunResult, run_all
from hebae.experiments.table import numbers, summary_rows
from hebae.files import make_folder
from hebae.provenance import provenance
from hebae.report import style
from hebae.report.methods import display_name, looks
from hebae.report.page import Section
from hebae.report.style import QUIET, SEQUENTIAL, describe, literal, styled
from hebae.report.tables import Row, Table, Undefined, to_csv
from hebae.training.many import Job, Watcher

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["KIND", "Swept", "console_table", "draw", "flat", "sweep", "tabulate_runs"]

KIND = "sweep"
REASONS_SHOWN = 3
MOST_LINES = 15
# Headings on the console, where 80 letters have to hold the axes as well; others are left out.
_SHORT = {
    "objective": "objective",
    "objective.reconstruction": "recon.",
    "objective.penalty.": "penalty",
    "moments.median_sigma": "median\nsigma",
    "moments.mean_abs_correlation.mean": "|corr.|",
    "training.seconds": "seconds",
}


@dataclass(frozen=True)
class Swept:
    """A finished sweep."""

    runs: Sequence[RunResult]

    @property
    def diverged(self) -> int:
        """Number of runs that diverged."""
        return sum(run.state == "diverged" for run in self.runs)


def sweep(
    axes: Sequence[Axis],
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
) -> Swept | None:
    """Train the runs into folders in `output`, then tabulate and draw them.

    Parameters
    ----------
    axes : sequence of Axis
    planned, jobs : sequences of the same length
        See `hebae.experiments.plan.plan_grid` and `prepare`.
    output : Path
        Receives ``runs/``, ``sweep.json``, ``.csv`` and ``.md``, ``report.html`` and, for a numeric
        axis, ``figures/``.
    command : str
        For the provenance.
    resume, overwrite : bool
        Whether to keep the finished runs of an existing sweep, or to replace it.
    retry_diverged : bool
        Whether to train runs again that diverged earlier.
    watcher : Watcher, optional
        Receives the progress of the trainings.
    progress : callable
        Receives a message before each later step.

    Returns
    -------
    Swept or None
        None if the training was interrupted.

    Raises
    ------
    HebaeError
        Before any training, if the folder cannot be used.
    """
    folder = ExperimentFolder(output, KIND)
    values = {"axes": {axis.name: list(axis.values) for axis in axes}}
    with folder.hold(resume=resume, overwrite=overwrite):
        folder.require_same(jobs)
        folder.write_mark(jobs, values)
        runs = run_all(
            planned,
            jobs,
            command=command,
            watcher=watcher,
            retry_diverged=retry_diverged,
            progress=progress,
        )
        if runs is None:
            return None
        first = jobs[0].prepared
        over = " and ".join(axis.name for axis in axes)
        table = tabulate_runs(runs, f"{first.dataset.name}: {len(runs):,} runs over {over}")
        seeds = [run.settings.seed for run in runs]
        origin = provenance(command, first.dataset, first.settings, seeds)
        records = [flat(run) for run in runs]
        folder.write_mark(jobs, {**values, "provenance": origin, "results": records})
        folder.write("sweep.csv", to_csv(records))
        folder.write("sweep.md", table.to_markdown())
        drawing = draw(axes, runs)
        pictures = []
        if not isinstance(drawing, str):
            make_folder(folder.figures)
            for suffix in ("png", "pdf"):
                style.save(drawing.figure, folder.figures / f"sweep.{suffix}")
            path = folder.figures / "sweep.png"
            pictures = [Picture(path, drawing.title, drawing.caption)]
        why_none = [Section("Figure", [drawing])] if isinstance(drawing, str) else []
        folder.write_page(
            f"A sweep over {over} on {first.dataset.name}",
            why_none,
            pictures,
            Section("Results", [table]),
            Section("Provenance", [origin]),
        )
        return Swept(runs)


def tabulate_runs(runs: Sequence[RunResult], title: str) -> Table:
    """Make a table with one row per run; footnotes say why a number is missing."""
    rows = summary_rows(run.measurements for run in runs)
    units = {id: "its own" if id.endswith(".") else _unit(runs, id) for id in rows}

    def cell(run: RunResult, id: str) -> str | Undefined:
        if run.state == "diverged":
            return Undefined("the run diverged")
        one = find(run.measurements, id)
        return _text(one) or Undefined(one.undefined if one else "the method has no such term")

    return Table(
        title,
        ["state", *(f"{rows[id]} ({units[id]})" if units[id] else rows[id] for id in rows)],
        [
            Row(
                ", ".join(f"{name} {as_text(value)}" for name, value in run.planned.values.items()),
                [run.state, *(cell(run, id) for id in rows)],
            )
            for run in runs
        ],
        _notes(runs),
    )


def console_table(runs: Sequence[RunResult], width: int) -> RichTable:
    """Make a table for a console, with one row per run and as many columns as fit."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    rows = summary_rows(run.measurements for run in runs)
    headings = {id: _SHORT.get(id, rows[id].removeprefix("penalty: ")) for id in rows}
    shown = [id for id in rows if id in _SHORT or id.startswith("objective.penalty.")]
    notes = [*_notes(runs), "–: not defined; sweep.md says why, and has more columns."]

    def table() -> RichTable:
        made = RichTable(
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            caption=Text("\n".join(notes), "dim"),
            caption_justify="left",
        )
        for name in runs[0].planned.values:
            made.add_column(Text(name.replace("_", "\n")), vertical="bottom")
        for id in shown:
            made.add_column(Text(headings[id]), justify="right")
        for run in runs:
            diverged = run.state == "diverged"
            cells = [_text(find(run.measurements, id)) or "–" for id in shown]
            if diverged:
                cells[0] = "diverged"
            values = map(as_text, run.planned.values.values())
            made.add_row(*map(Text, [*values, *cells]), style="yellow" if diverged else "")
        return made

    while len(shown) > 1 and Console(width=2**16).measure(table()).maximum > width:
        shown.pop()
    return table()


def flat(run: RunResult) -> dict[str, Any]:
    """Return a run as names and numbers on one level, in full precision, for JSON and CSV."""
    found: dict[str, Any] = {"run": run.label}
    for name, value in run.planned.values.items():
        found[name] = as_text(value) if isinstance(value, tuple) else value
    found |= {"state": run.state, "reason": run.reason}
    if run.measurements:
        values = numbers(run.measurements, run.split)
        penalties = values.pop("penalty")
        found |= values | {f"penalty_{name}": value for name, value in penalties.items()}
    return found


def _text(one: Measurement | None) -> str:
    return "" if one is None or one.value is None else f"{one.value:{one.format}}"


def _unit(runs: Sequence[RunResult], id: str) -> str:
    return next((one.unit for run in runs if (one := find(run.measurements, id))), "")


def _notes(runs: Sequence[RunResult]) -> list[str]:
    notes = []
    if split := next((run.split for run in runs if run.measurements), None):
        notes.append(
            f"Means over {split} examples. Each method has its own objective and penalty: they are "
            "not comparable between methods."
        )
    diverged = [run for run in runs if run.state == "diverged"]
    notes += [f"{run.label}: {run.reason}" for run in diverged[:REASONS_SHOWN]]
    if len(diverged) > REASONS_SHOWN:
        notes.append(f"{len(diverged) - REASONS_SHOWN} more diverged; sweep.csv says why.")
    return notes


# ---- the figure: reconstruction and penalties against the longest numeric axis -------------------

_WIDE, _WIDEST = 8, 30  # ratios of largest to smallest above which x and y are logarithmic
_BAND = 0.16  # opacity
_MARKERS = "os^DvPX<>ph*d8H"
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))

# Positions of a line's points on the x axis, and the values of the seeds there.
Line = Mapping[float, Sequence[float]]
# The values that distinguish a line: of all axes but the one on the x axis, and the seed.
Key = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Drawing:
    """A figure with title and caption."""

    figure: Figure
    title: str
    caption: str


@styled()
def draw(axes: Sequence[Axis], runs: Sequence[RunResult]) -> Drawing | str:
    """Draw a line per combination of the other axes; median and range over several seeds.

    Each penalty has its own panel, since penalties are different quantities.

    Returns
    -------
    Drawing or str
        A sentence that says why there is no figure.
    """
    numeric = [a for a in axes if a.is_numeric and a.name != "seed" and len(a.values) > 1]
    if not numeric:
        return "No figure: only the seed has several numeric values."
    across = max(numeric, key=lambda axis: len(axis.values))
    finished = [run for run in runs if run.measurements]
    lines: dict[Key, list[RunResult]] = {}
    for run in finished:
        values = run.planned.values.items()
        key = tuple((name, v) for name, v in values if name not in (across.name, "seed"))
        lines.setdefault(key, []).append(run)
    if not lines:
        return "No figure: every run diverged."
    if len(lines) > MOST_LINES:
        return f"No figure: it would have {len(lines)} lines. The numbers are in sweep.csv."

    prefix = "objective.penalty."
    penalties = {
        one.id: one
        for run in finished
        for one in run.measurements
        if one.id.startswith(prefix) and one.value is not None
    }
    ids = ["objective.reconstruction", *penalties]
    figure = Figure(
        figsize=(max(5.0, 3.4 * len(ids)), 3.6),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08),
    )
    appearance = _appearance(list(lines))
    for panel, id in zip(figure.subplots(1, len(ids), squeeze=False)[0], ids, strict=True):
        drawn = {key: _line(members, id, across.name) for key, members in lines.items()}
        for key, line in drawn.items():
            _plot(panel, line, appearance[key])
        if id in penalties:
            describe(panel, f"Penalty: {id.removeprefix(prefix)}", "before its weight")
            panel.set_ylabel(penalties[id].unit or "no unit")
        else:
            describe(panel, "Reconstruction", "−log p(x|z)")
            panel.set_ylabel("nats")
        _scale(panel, across, [v for line in drawn.values() for vs in line.values() for v in vs])
    seeds = next((len(axis.values) for axis in axes if axis.name == "seed"), 1)
    _add_legend(figure, appearance, seeds)
    caption = [f"After training, on {finished[0].split} examples."]
    if seeds > 1:
        caption.append("Lines are medians over the seeds; bands show the smallest and largest.")
    if missing := len(runs) - len(finished):
        caption.append(f"{missing} of {len(runs)} runs diverged and are left out.")
    title = f"Reconstruction and penalty against {across.name.replace('_', ' ')}"
    return Drawing(figure, title, " ".join(caption))


def _line(runs: Sequence[RunResult], id: str, across: str) -> Line:
    line: dict[float, list[float]] = {}
    for run in runs:
        one = find(run.measurements, id)
        if one is not None and one.value is not None:
            line.setdefault(run.planned.values[across], []).append(one.value)
    return dict(sorted(line.items()))


def _appearance(keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
    """Distinguish methods by colour, everything else by dashes and markers."""
    rests = list(dict.fromkeys(tuple(p for p in key if p[0] != "method") for key in keys))
    ramp = mpl.colormaps[SEQUENTIAL]
    found = {}
    for key in keys:
        number = rests.index(tuple(part for part in key if part[0] != "method"))
        method = dict(key).get("method")
        look = None if method is None else looks([str(method)])[str(method)]
        labels = [
            display_name(v) if n == "method" else f"{n.replace('_', ' ')} {as_text(v)}"
            for n, v in key
        ]
        found[key] = {
            "color": look.colour if look else ramp(0.85 * number / max(1, len(rests) - 1)),
            "marker": look.marker if look and len(rests) == 1 else _MARKERS[number],
            "linestyle": _DASHES[number % len(_DASHES)] if look else "-",
            "label": literal(", ".join(labels)),
        }
    return found


def _plot(panel: Axes, line: Line, look: Mapping[str, Any]) -> None:
    if not line:
        return
    panel.plot(list(line), [statistics.median(values) for values in line.values()], **look)
    if any(len(values) > 1 for values in line.values()):
        low, high = ([end(values) for values in line.values()] for end in (min, max))
        panel.fill_between(list(line), low, high, color=look["color"], alpha=_BAND, linewidth=0)


def _scale(panel: Axes, across: Axis, ys: Sequence[float]) -> None:
    panel.set_xlabel(across.name.replace("_", " "))
    xs = sorted(across.values)
    positive = [x for x in xs if x > 0]
    if positive and positive[-1] > _WIDE * positive[0]:
        if xs[0] > 0:
            panel.set_xscale("log")
        else:
            panel.set_xscale("symlog", linthresh=positive[0])
    if len(xs) <= 6:
        panel.set_xticks(xs, [as_text(x) for x in xs])
        panel.minorticks_off()
    if ys and min(ys) > 0 and max(ys) > _WIDEST * min(ys):
        panel.set_yscale("log")


def _add_legend(figure: Figure, looks: Mapping[Key, Mapping[str, Any]], seeds: int) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], **look) for look in looks.values() if look["label"]
    ]
    if seeds > 1:
        handles.append(Patch(color=QUIET, alpha=_BAND, linewidth=0, label="range over seeds"))
    if handles:
        letters = max(len(str(handle.get_label())) for handle in handles) + 9
        columns = max(1, int(figure.get_figwidth() * 16 / letters))
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=min(columns, len(handles)),
            handlelength=3.5,
        )
