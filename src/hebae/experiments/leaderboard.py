"""`hebae leaderboard`: every method with the same network, data and budget, its weight chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from hebae.config import Settings
from hebae.data import Dataset, load
from hebae.errors import HebaeError
from hebae.experiments.cluster import Cluster
from hebae.experiments.cluster_runs import Measure, measure_each
from hebae.experiments.figures import code_maps, explore
from hebae.experiments.leaderboard_plan import Board, Entry, evaluation, last_split
from hebae.experiments.measure import evaluate_run
from hebae.experiments.metrics import choose
from hebae.experiments.plan import PlannedRun
from hebae.experiments.runner import ExperimentFolder, joint_provenance, train_runs
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.table import tabulate
from hebae.experiments.trained_run import RunResult
from hebae.files import make_folder, write_text
from hebae.methods import SAMPLER_NAMES
from hebae.report import style
from hebae.report.page import Picture, Section
from hebae.report.ranges import RangePanel, RowLabel, range_panels
from hebae.report.tables import Row, Table, Undefined
from hebae.training import session
from hebae.training.many import Job, Watcher

METRICS = ("reconstruction", "elbo", "iwae", "frechet", "moments", "labels")
BEST, BOUND = "frechet.best", "iwae.fitted_width"
ROWS = {  # of the table: id and heading; the Frechet distances of all samplers come after
    BOUND: "log p(x), IWAE",
    "elbo": "ELBO",
    "reconstruction.negative_log_likelihood": "reconstruction",
    "moments.mean_abs_correlation.mean": "mean |correlation|",
    "moments.active_units": "active units",
    "labels.nearest_neighbours": "accuracy of neighbours",
}
PANELS = {  # of the figure: heading, note, and whether higher or lower is better
    BOUND: ("log p(x)", "IWAE, nats", "higher"),
    BEST: ("Samples", "Frechet distance, best sampler", "lower"),
    "frechet.prior": ("Samples, own prior", "Frechet distance", "lower"),
    "reconstruction.negative_log_likelihood": ("Reconstruction", "−log p(x|μ(x)), nats", "lower"),
    "moments.mean_abs_correlation.mean": ("Correlation of μ", "mean |off-diagonal|", "lower"),
    "labels.nearest_neighbours": ("Neighbours", "accuracy on the code", "higher"),
}
CHOICE = (
    "The weight of each row is the one with {}. The models for this choice were trained on a part "
    "of the training examples."
)
BY_DISTANCE = (
    "the lowest Frechet distance to validation examples, over all samplers that were tried"
)
BY_BOUND = "the highest log p(x) of validation examples (IWAE, with a fitted width)"


def run_leaderboard(
    folder: ExperimentFolder,
    board: Board,
    *,
    command: str,
    resume: bool = False,
    overwrite: bool = False,
    retry_diverged: bool = False,
    watcher: Watcher | None = None,
    progress: Callable[[str], None] = lambda message: None,
    cluster: Cluster | None = None,
) -> list[Table] | None:
    """Choose each row's weight, train it with every seed, evaluate, and write tables and page.

    Finished runs and measurements in `folder` are kept with `resume`. The result is None if the
    command was interrupted, otherwise a table per data set. A row that cannot be trained, or
    diverges, says why. Runs are trained and measured by tasks of `cluster`, if there is one.

    Raises
    ------
    HebaeError
        Before any training, if the data are missing or the folder is used for something else.
    """
    name = board.settings(board.entries[0], "train").data
    names = [name, *([board.plan["also"][name]] if name in board.plan["also"] else [])]
    sources = {n: board.settings(board.entries[0], "train", data=n).source for n in names}
    datasets = {n: load(**source) for n, source in sources.items()}
    runner = _Runner(folder, board, command, watcher, progress, cluster, retry_diverged)
    with folder.hold(resume=resume, overwrite=overwrite):
        planned = [run for e in board.entries for run in board.candidates(e, datasets[name])]
        wanted = {run.label: run.settings for run in planned}
        if folder.mark.is_file():
            folder.require_same(wanted)
        folder.write_mark({"budget": board.budget}, wanted)
        tried = runner.run(planned, final=False)
        if tried is None:
            return None
        chosen = {entry.key: _choose(entry, tried) for entry in board.entries}
        results: dict[str, list[RunResult]] = {}
        for data in datasets:
            seeds = board.plan["seeds"] if data == name else board.plan["seeds"][:1]
            final = [
                board.final(entry, data, seed, chosen[entry.key].settings)
                for entry in board.entries
                for seed in seeds
                if not chosen[entry.key].reason
            ]
            found = runner.run(final, final=True)
            if found is None:
                return None
            results[data] = [*found, *(one for one in chosen.values() if one.reason)]
        return _publish(folder, board, datasets, wanted, tried, chosen, results, command)


class _Runner:
    """Trains and measures lists of runs into one folder."""

    def __init__(
        self,
        folder: ExperimentFolder,
        board: Board,
        command: str,
        watcher: Watcher | None,
        progress: Callable[[str], None],
        cluster: Cluster | None,
        retry_diverged: bool,
    ) -> None:
        self.folder, self.board, self.progress = folder, board, progress
        self.cluster = cluster
        self.command, self.watcher, self.retry_diverged = command, watcher, retry_diverged

    def run(self, planned: Sequence[PlannedRun], *, final: bool) -> list[RunResult] | None:
        """Train what can be trained, and measure it; None if that was interrupted.

        A run that cannot be trained has its reason, as one that diverges has.
        """
        datasets: dict[str, Dataset] = {}
        jobs, refused = [], {}
        for run in planned:
            key = str(run.settings.source)
            dataset = datasets[key] if key in datasets else load(**run.settings.source)
            datasets[key] = dataset
            path = self.folder.runs / run.label
            try:
                prepared = session.prepare(run.settings, dataset)
            except HebaeError as error:
                refused[run.label] = RunResult(
                    run.label,
                    run.settings,
                    run.values,
                    path=path,
                    dataset=dataset,
                    evaluation=EvaluationSettings(),
                    reason=str(error),
                )
                continue
            prepared.release()
            jobs.append(Job(run.label, prepared, path, self.folder.path))
        trained = train_runs(
            [run for run in planned if run.label not in refused],
            jobs,
            command=self.command,
            watcher=self.watcher,
            retry_diverged=self.retry_diverged,
            cluster=self.cluster,
        )
        if trained is None:
            return None
        calls = [self._measuring(one, final) for one in trained]
        measured = measure_each(calls, self.progress, self.cluster)
        if measured is None:
            return None
        found = refused | {one.label: one for one in measured}
        return [found[run.label] for run in planned]

    def _measuring(self, run: RunResult, final: bool) -> tuple[RunResult, Measure]:
        """Return what `measure_each` takes."""
        names: Sequence[str] = METRICS
        if run.diverged:
            run = replace(run, reason=f"diverged: {run.reason}")
        elif not final:
            (frechet,) = choose(["frechet"])
            names = ["frechet" if frechet.applies(run.open()) else "iwae"]
        labelled = run.dataset.train.labels is not None
        metrics = choose([name for name in names if labelled or name != "labels"])
        settings = evaluation(self.board.plan, run, final=final)
        return run, partial(evaluate_run, metrics=metrics, settings=settings, command=self.command)


def criterion(run: RunResult) -> float:
    """Return what a choice minimises: the lowest Frechet distance over the samplers, or -log p(x).

    It is infinite if there is neither. The bound is measured only where there are no distances.
    """
    distances = [value for _, value in _distances(run)]
    if distances:
        return min(distances)
    bound = run.value(BOUND)
    return math.inf if bound is None else -bound


def _choose(entry: Entry, tried: Sequence[RunResult]) -> RunResult:
    """Return the best candidate of an entry, with a reason if there is none."""
    own = [one for one in tried if one.values["entry"] == entry.key]
    best = min(own, key=criterion)
    if criterion(best) < math.inf:
        return best
    reasons = "; ".join(dict.fromkeys(one.reason for one in own if one.reason))
    return replace(best, reason=reasons or "no sampler could be compared")


def _distances(run: RunResult) -> list[tuple[str, float]]:
    """Return the Frechet distance of each sampler that was measured."""
    pairs = [(name, run.value(f"frechet.{name}")) for name in SAMPLER_NAMES]
    return [(name, value) for name, value in pairs if value is not None]


def _with_best(run: RunResult) -> RunResult:
    """Add the lowest Frechet distance over the samplers."""
    distances = _distances(run)
    if not distances:
        return run
    name, _ = min(distances, key=lambda pair: pair[1])
    best = run.measurement(f"frechet.{name}")
    assert best is not None
    return replace(run, measurements=[*run.measurements, replace(best, id=BEST)])


def _publish(
    folder: ExperimentFolder,
    board: Board,
    datasets: Mapping[str, Dataset],
    settings: Mapping[str, Settings],
    tried: Sequence[RunResult],
    chosen: Mapping[str, RunResult],
    results: Mapping[str, Sequence[RunResult]],
    command: str,
) -> list[Table]:
    make_folder(folder.figures)
    by_distance = any(map(_distances, tried))
    how = CHOICE.format(BY_DISTANCE if by_distance else BY_BOUND)
    tables, pictures, maps = [], [], []
    for name, found in results.items():
        dataset = datasets[name]
        rows: dict[Entry, list[RunResult]] = {
            entry: [_with_best(one) for one in found if one.values["entry"] == entry.key]
            for entry in board.entries
        }
        tables.append(_tabulate(rows, dataset, how))
        if not any(one.measurements for one in found):
            continue
        path = folder.figures / f"{Path(name).name}.png"
        title = f"Leaderboard, {dataset.name}"
        style.save(_draw(rows, title), path)
        first = {e.label: [one for one in of if one.measurements] for e, of in rows.items()}
        opened = {label: of[0].open() for label, of in first.items() if of}
        ranked = sorted(opened, key=lambda label: first[label][0].value(BEST) or math.inf)
        live = explore((label, opened[label]) for label in ranked)  # the best one is first
        maps += [
            replace(section, heading=f"{section.heading}, {dataset.name}")
            for section in (*code_maps(opened), *live)
        ]
        caption = (
            f"Medians and ranges over the seeds, on {last_split(dataset)} examples. An arrow "
            "points to where a model is better, and a hollow marker is the best median."
        )
        pictures.append(Section(title, [Picture(path.read_bytes(), title, caption)]))
    choice = _tabulate_choice(board, tried, chosen, by_distance=by_distance)
    content = {
        "budget": board.budget,
        "seeds": board.plan["seeds"],
        "choice": choice.records(),
        "tables": {name: table.records() for name, table in zip(results, tables, strict=True)},
    }
    shown = [table.transposed() for table in tables]
    sections = [
        *(Section(table.title, [table]) for table in shown),
        *pictures,
        *maps,
        Section("Choice of the weights", [how, choice], folded=True),
    ]
    records = [
        {"data": name} | record
        for name, table in zip(results, tables, strict=True)
        for record in table.records()
    ]
    # As planned, since completed settings could not be compared with those of a later command.
    planned = [replace(one, settings=settings[one.label]) for one in tried]
    trained = [one for found in results.values() for one in found if not one.reason]
    origin = joint_provenance(command, datasets.values(), trained) if trained else None
    folder.publish(planned, tables[0], "Leaderboard", sections, content, command, records, origin)
    markdown = "\n".join(table.to_markdown() for table in [*shown, choice])
    write_text(folder.path / f"{folder.kind}.md", markdown)
    return shown


def _tabulate(rows: Mapping[Entry, Sequence[RunResult]], dataset: Dataset, note: str) -> Table:
    """Tabulate the measurements, a column per entry; one without any has its reason in each row."""
    columns = {entry.label: found for entry, found in rows.items()}
    reasons = {
        label: found[0].reason for label, found in columns.items() if all(r.reason for r in found)
    }
    every = [run for found in columns.values() for run in found]
    samplers = [
        name for name in SAMPLER_NAMES if any(run.measurement(f"frechet.{name}") for run in every)
    ]
    ids = ROWS | {BEST: "Frechet, best sampler"}
    ids |= {f"frechet.{name}": f"Frechet, {name}" for name in samplers}
    ids |= {"frechet.training-codes": "Frechet, decoded training codes"}
    ids |= {"frechet.reconstructions": "Frechet, reconstructions"}
    epochs = sorted({run.settings.epochs for run in every if not run.reason})
    trained = f", {' or '.join(map(str, epochs))} epochs" if epochs else ""
    title = f"{dataset.name}{trained}: {last_split(dataset)} examples"
    table = tabulate(columns, title, [note], ids=ids)
    if not table.rows:
        return replace(table, rows=[Row("result", [Undefined(r) for r in reasons.values()])])
    return replace(
        table,
        rows=[
            replace(
                row,
                values=[
                    Undefined(reasons[label]) if label in reasons else value
                    for label, value in zip(table.columns, row.values, strict=True)
                ],
            )
            for row in table.rows
        ],
    )


def _tabulate_choice(
    board: Board,
    tried: Sequence[RunResult],
    chosen: Mapping[str, RunResult],
    *,
    by_distance: bool,
) -> Table:
    """Tabulate the criterion of each setting that was tried; the chosen one is bold."""
    rows = []
    for entry in board.entries:
        cells: list[str | Undefined] = []
        best = []
        for run in (one for one in tried if one.values["entry"] == entry.key):
            if run.label == chosen[entry.key].label and not chosen[entry.key].reason:
                best.append(len(cells))
            head = f"{run.values['weight']:g}: " if "weight" in run.values else ""
            value = criterion(run)
            text = f"{head}{value:.3g}" if by_distance else f"{head}{-value:,.2f}"
            cells.append(text if math.isfinite(value) else Undefined(run.reason))
        cells += [""] * (len(board.plan["factors"]) - len(cells))
        rows.append(Row(entry.label, cells, best=best))
    heads = [f"default × {factor:g}" for factor in board.plan["factors"]]
    what = "the lowest Frechet distance over the samplers" if by_distance else "log p(x), in nats"
    note = f"Each cell: the weight, and {what}."
    return Table("Weights that were tried", heads, rows, [note])


def _draw(rows: Mapping[Entry, Sequence[RunResult]], title: str) -> Figure:
    drawn = []
    for id, (heading, note, better) in PANELS.items():
        values = [
            [value for run in found if (value := run.value(id)) is not None]
            for found in rows.values()
        ]
        if any(values):
            drawn.append(RangePanel(values, heading, note, better))
    return range_panels([RowLabel(e.label, e.method) for e in rows], drawn, title=title)
