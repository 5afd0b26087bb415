"""`hebae leaderboard`: every method with the same network, data and budget, its weight chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

import yaml

from hebae.config import Settings, resolve
from hebae.data import Dataset, load
from hebae.errors import HebaeError
from hebae.experiments.figures import Picture, as_sections
from hebae.experiments.measure import feature_extractors, measure
from hebae.experiments.measurement import Measurement, find, value_of
from hebae.experiments.metrics import choose
from hebae.experiments.plan import PlannedRun
from hebae.experiments.runner import ExperimentFolder
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.table import Column, tabulate
from hebae.experiments.trained_run import TrainedRun
from hebae.files import clear, make_folder
from hebae.methods import METHODS as REGISTRY
from hebae.provenance import provenance
from hebae.report import style
from hebae.report.page import Section
from hebae.report.ranges import RangePanel, RowLabel, range_panels
from hebae.report.tables import Row, Table, Undefined
from hebae.samplers import NAMES
from hebae.storage import RunFolder
from hebae.training import session
from hebae.training.many import Job, Watcher, train_all

_FILE = files("hebae.experiments").joinpath("leaderboard.yaml")
_TEXTS = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
BUDGETS: dict[str, dict[str, Any]] = _TEXTS["budgets"]
CHOOSING = ("frechet",)
METRICS = ("reconstruction", "elbo", "iwae", "frechet", "moments", "labels")
ROWS = {  # of the table: id and heading; the Frechet distances of all samplers come after
    "iwae.fitted_width": "log p(x), IWAE",
    "elbo": "ELBO",
    "reconstruction.negative_log_likelihood": "reconstruction",
    "moments.mean_abs_correlation.mean": "mean |correlation|",
    "moments.active_units": "active units",
    "labels.nearest_neighbours": "accuracy of neighbours",
}
BEST = "frechet.best"
CRITERION = (
    "The weight of each row was chosen by the lowest Frechet distance to validation examples, over "
    "the samplers that were tried, of models trained on a part of the training examples."
)
_WEIGHTS = "a leaderboard tries weights of its own"


@dataclass(frozen=True, eq=False)
class Entry:
    """A row: a method, perhaps with settings of its own."""

    key: str
    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weight(self) -> str | None:
        """The setting that is chosen: the first weight of the method; none for the plain AE."""
        options = REGISTRY[self.method].options.values()
        return next((option.name for option in options if option.is_weight), None)


ENTRIES = {
    **{name: Entry(name, method.display_name, name) for name, method in REGISTRY.items()},
    **{key: Entry(key, **values) for key, values in _TEXTS["entries"].items()},
}


@dataclass(frozen=True)
class Result:
    """One training of a row."""

    entry: Entry
    settings: Settings | None
    """None if it cannot be trained."""
    path: Any = None
    measurements: Sequence[Measurement] = ()
    reason: str = ""
    """Why it has no measurements."""

    def criterion(self) -> float:
        """Return the lowest Frechet distance over the samplers; infinite if there is none."""
        return min((v for _, v in _distances(self.measurements)), default=math.inf)


@dataclass(frozen=True)
class Board:
    """What the runs of a leaderboard share: preset, file and flags, and the budget."""

    budget: str
    entries: Sequence[Entry]
    preset: str | None = None
    config: Any = None
    flags: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise a HebaeError if a flag is given that the leaderboard decides itself."""
        decided = {"method": "--methods chooses them", "seed": "the budget has the seeds"}
        decided |= {e.weight: _WEIGHTS for e in self.entries if e.weight}
        decided |= dict.fromkeys(("train_size", "validation_size"), "the budget decides")
        for name in self.flags.keys() & decided.keys():
            flag = name.replace("_", "-")
            raise HebaeError(f"leaderboard takes no --{flag}, since {decided[name]}; leave it out.")

    @property
    def plan(self) -> dict[str, Any]:
        """The budget's settings, as in ``leaderboard.yaml``."""
        return BUDGETS[self.budget]

    def settings(self, entry: Entry, stage: str, **changes: Any) -> Settings:
        """Return the settings of a run of an entry; flags go before the budget's settings."""
        values = {**self.plan[stage], **entry.settings, **self.flags, **changes}
        return resolve(self.preset, self.config, values | {"method": entry.method})

    def candidates(self, entry: Entry, dataset: Dataset) -> list[PlannedRun]:
        """Plan the runs among which the weight is chosen."""
        count = len(dataset.train)
        changes: dict[str, Any] = {"seed": 0}
        if dataset.validation is None:
            changes["validation_size"] = min(self.plan["validation"], count // 6)
            count -= changes["validation_size"]
        size = self.plan["choose"].get("train_size", count)
        changes["train_size"] = min(size, count)
        if entry.weight is None:
            return [PlannedRun(f"choose-{entry.key}", self.settings(entry, "choose", **changes))]
        default = getattr(self.settings(entry, "choose", **changes), entry.weight)
        runs = []
        for factor in self.plan["factors"]:
            weight = float(f"{default * factor:.4g}")
            one = self.settings(entry, "choose", **changes, **{entry.weight: weight})
            runs.append(PlannedRun(f"choose-{entry.key}-{weight:g}", one, {"weight": weight}))
        return runs


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
) -> list[Table] | None:
    """Choose each row's weight, train it with every seed, evaluate, and write tables and page.

    Finished runs and measurements in `folder` are kept with `resume`. The result is None if the
    training was interrupted, otherwise a table per data set. A row that cannot be trained, or
    diverges, says why.

    Raises
    ------
    HebaeError
        Before any training, if the data are missing or the folder is used for something else.
    """
    names = [board.settings(board.entries[0], "train").data]
    names += [board.plan["also"][names[0]]] if names[0] in board.plan["also"] else []
    place = {"data_dir": board.flags.get("data_dir")}
    datasets = {name: load(name, **place, binarize=_binarize(board)) for name in names}
    first = datasets[names[0]]
    runner = _Runner(folder, board, command, watcher, progress)
    with folder.hold(resume=resume, overwrite=overwrite):
        planned = [(e, run) for e in board.entries for run in board.candidates(e, first)]
        wanted = {run.label: run.settings for _, run in planned}
        if folder.mark.is_file():
            folder.require_same(wanted)
        folder.write_mark({"budget": board.budget}, wanted)
        if retry_diverged:
            runner.forget_diverged()
        tried = runner.run(planned, "validation", CHOOSING, board.plan["samplers"])
        if tried is None:
            return None
        chosen = _choose(board.entries, tried)
        results: dict[str, list[Result]] = {}
        for name, dataset in datasets.items():
            seeds = board.plan["seeds"] if name == names[0] else board.plan["seeds"][:1]
            final = [
                (entry, _final(board, entry, name, seed, chosen[entry.key]))
                for entry in board.entries
                for seed in seeds
                if chosen[entry.key].settings is not None
            ]
            found = runner.run(final, "test", METRICS, board.plan["samplers"], dataset)
            if found is None:
                return None
            refused = [one for one in chosen.values() if one.settings is None]
            results[name] = [*found, *refused]
        return _publish(folder, board, datasets, tried, chosen, results, command)


class _Runner:
    """Trains and measures lists of runs into one folder."""

    def __init__(
        self,
        folder: ExperimentFolder,
        board: Board,
        command: str,
        watcher: Watcher | None,
        progress: Callable[[str], None],
    ) -> None:
        self.folder, self.board, self.command = folder, board, command
        self.watcher, self.progress = watcher, progress

    def forget_diverged(self) -> None:
        """Remove the runs that diverged, so that they are trained again."""
        for path in self.folder.runs.glob("*"):
            if RunFolder(path).divergence.is_file():
                clear(path, RunFolder.NAMES)

    def run(
        self,
        planned: Sequence[tuple[Entry, PlannedRun]],
        split: str,
        metrics: Sequence[str],
        samplers: Sequence[str],
        dataset: Dataset | None = None,
    ) -> list[Result] | None:
        """Train what can be trained, and measure it; None if the training was interrupted."""
        jobs: list[Job | str] = []
        loaded: dict[str, Dataset] = {}
        for _, run in planned:
            try:
                data = dataset or loaded.get(key := str(run.settings.source))
                data = data or loaded.setdefault(key, load(**run.settings.source))
                prepared = session.prepare(run.settings, data)
            except HebaeError as error:
                jobs.append(str(error))
                continue
            prepared.release()
            jobs.append(Job(run.label, prepared, self.folder.runs / run.label))
        trained = [job for job in jobs if isinstance(job, Job)]
        done = train_all(trained, command=self.command, watcher=self.watcher)
        if any(result.state == "interrupted" for result in done):
            return None
        states = {result.job.label: result for result in done}
        found = []
        for (entry, run), job in zip(planned, jobs, strict=True):
            if isinstance(job, str):
                found.append(Result(entry, run.settings, reason=job))
            elif states[job.label].state == "diverged":
                reason = states[job.label].message or "it diverged"
                found.append(Result(entry, run.settings, job.path, reason=f"diverged: {reason}"))
            else:
                measured = self._measure(job, split, metrics, samplers)
                found.append(Result(entry, run.settings, job.path, measured))
        return found

    def _measure(
        self, job: Job, split: str, metrics: Sequence[str], samplers: Sequence[str]
    ) -> list[Measurement]:
        plan, dataset = self.board.plan, job.prepared.dataset
        seeds = plan["seeds"][: plan["all_samplers"]] if split == "test" else []
        if job.prepared.settings.seed in seeds:
            samplers = NAMES
        values = {
            "split": split if split != "test" else _last(dataset),
            "samplers": tuple(samplers),
            **plan["evaluation"],
        }
        settings = EvaluationSettings(device=job.prepared.settings.device, **values)
        chosen = choose(metrics if dataset.train.labels is not None else metrics[:-1] or metrics)
        chosen = [metric for metric in chosen if metric.name in metrics]

        def report(message: str) -> None:
            self.progress(f"{job.label}: {message}")

        extractors = feature_extractors(dataset, chosen, settings, progress=report)
        run = TrainedRun(job.path, dataset, settings)
        return measure(run, chosen, extractors, command=self.command, progress=report)


def _last(dataset: Dataset) -> str:
    """Return the split that the chosen models are measured on."""
    return "test" if dataset.test is not None else "validation"


def _binarize(board: Board) -> Any:
    return board.settings(board.entries[0], "train").binarize


def _choose(entries: Iterable[Entry], tried: Sequence[Result]) -> dict[str, Result]:
    """Return the best candidate of each entry, or one without settings that says why not."""
    found = {}
    for entry in entries:
        own = [one for one in tried if one.entry.key == entry.key]
        best = min(own, key=Result.criterion)
        if best.criterion() == math.inf:
            reasons = "; ".join(dict.fromkeys(one.reason for one in own if one.reason))
            best = Result(entry, None, reason=reasons or "no sampler could be compared")
        found[entry.key] = best
    return found


def _final(board: Board, entry: Entry, data: str, seed: int, chosen: Result) -> PlannedRun:
    assert chosen.settings is not None
    changes: dict[str, Any] = {"seed": seed, "data": data}
    if entry.weight is not None:
        changes[entry.weight] = getattr(chosen.settings, entry.weight)
    label = f"{data.replace('/', '-')}-{entry.key}-seed{seed}"
    return PlannedRun(label, board.settings(entry, "train", **changes))


def _distances(measurements: Sequence[Measurement]) -> list[tuple[str, float]]:
    """Return the Frechet distance of each sampler that was measured."""
    pairs = [(name, value_of(measurements, f"frechet.{name}")) for name in NAMES]
    return [(name, value) for name, value in pairs if value is not None]


def _with_best(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Add the lowest Frechet distance over the samplers."""
    distances = _distances(measurements)
    if not distances:
        return list(measurements)
    name, _ = min(distances, key=lambda pair: pair[1])
    best = find(measurements, f"frechet.{name}")
    assert best is not None
    return [*measurements, replace(best, id=BEST)]


def _publish(
    folder: ExperimentFolder,
    board: Board,
    datasets: Mapping[str, Dataset],
    tried: Sequence[Result],
    chosen: Mapping[str, Result],
    results: Mapping[str, Sequence[Result]],
    command: str,
) -> list[Table]:
    make_folder(folder.figures)
    tables, pictures = [], []
    for name, found in results.items():
        groups = {e: [one for one in found if one.entry.key == e.key] for e in board.entries}
        tables.append(_tabulate(groups, datasets[name]))
        if not any(one.measurements for one in found):
            continue
        path = folder.figures / f"{name.replace('/', '-')}.png"
        title = f"Leaderboard, {datasets[name].name}"
        style.save(_draw(groups, title), path)
        caption = (
            "Medians and ranges over the seeds, as in the table; an arrow points to where a model "
            "is better, and a hollow marker is the best median."
        )
        pictures.append(Picture(path, title, caption))
    choice = _tabulate_choice(board, tried, chosen)
    settings = {
        one.path.name: one.settings
        for one in [*tried, *(one for found in results.values() for one in found)]
        if one.path is not None and one.settings is not None
    }
    first = next(iter(datasets.values()))
    origin = provenance(command, first, next(iter(settings.values())), board.plan["seeds"])
    wanted = {label: s for label, s in settings.items() if label.startswith("choose-")}
    content = {
        "budget": board.budget,
        "provenance": origin | {"budget": board.budget},
        "choice": choice.records(),
        "tables": {name: table.records() for name, table in zip(results, tables, strict=True)},
    }
    shown = [table.transposed() for table in tables]
    sections = [
        *(Section(table.title, [table]) for table in shown),
        *as_sections(pictures),
        Section("Choice of the weights", [CRITERION, choice], folded=True),
    ]
    csv = "".join(
        text if number == 0 else text.split("\n", 1)[1]
        for number, text in enumerate(table.to_csv() for table in tables)
    )
    folder.publish(tables[0], content, wanted, "Leaderboard", sections, csv)
    markdown = "\n".join(table.to_markdown() for table in [*shown, choice])
    folder.write(f"{folder.kind}.md", markdown)
    return shown


def _tabulate(groups: Mapping[Entry, Sequence[Result]], dataset: Dataset) -> Table:
    columns, reasons = [], {}
    for entry, found in groups.items():
        measured = [_with_best(one.measurements) for one in found if not one.reason]
        likelihood = next((one.settings.likelihood for one in found if one.settings), "")
        columns.append(Column(entry.label, likelihood, measured, len(found) - len(measured)))
        if not measured:
            reasons[entry.label] = next((one.reason for one in found), "it was not trained")
    samplers = [n for n in NAMES if any(find(r, f"frechet.{n}") for c in columns for r in c.runs)]
    ids = ROWS | {BEST: "Frechet, best sampler"}
    ids |= {f"frechet.{name}": f"Frechet, {name}" for name in samplers}
    ids |= {"frechet.reconstructions": "Frechet, reconstructions"}
    epochs = {one.settings.epochs for found in groups.values() for one in found if one.settings}
    trained = f", {' or '.join(map(str, sorted(epochs)))} epochs" if epochs else ""
    title = f"{dataset.name}{trained}: {_last(dataset)} examples"
    table = tabulate(columns, title, [CRITERION], ids=ids)
    if not table.rows:
        return replace(table, rows=[Row("result", [Undefined(r) for r in reasons.values()])])
    rows = [
        replace(
            row,
            values=[
                Undefined(reasons[label]) if label in reasons else value
                for label, value in zip(table.columns, row.values, strict=True)
            ],
        )
        for row in table.rows
    ]
    return replace(table, rows=rows)


def _tabulate_choice(board: Board, tried: Sequence[Result], chosen: Mapping[str, Result]) -> Table:
    """Tabulate the criterion of each setting that was tried; the chosen one is bold."""
    rows = []
    for entry in board.entries:
        own = [one for one in tried if one.entry.key == entry.key]
        cells: list[Any] = []
        best = []
        for place, one in enumerate(own):
            weight = getattr(one.settings, entry.weight) if entry.weight else None
            head = "" if weight is None else f"{weight:g}: "
            value = one.criterion()
            cells.append(f"{head}{value:.3g}" if math.isfinite(value) else Undefined(one.reason))
            if one is chosen[entry.key]:
                best.append(place)
        cells += [""] * (len(board.plan["factors"]) - len(cells))
        rows.append(Row(entry.label, cells, best=best))
    heads = [f"default x {factor:g}" for factor in board.plan["factors"]]
    note = "Each cell: the weight, and the lowest Frechet distance over the samplers."
    return Table("Weights that were tried", heads, rows, [note])


def _draw(groups: Mapping[Entry, Sequence[Result]], title: str) -> Any:
    panels = {
        "iwae.fitted_width": ("log p(x)", "IWAE, nats", "higher"),
        BEST: ("Samples", "Frechet distance, best sampler", "lower"),
        "frechet.prior": ("Samples, own prior", "Frechet distance", "lower"),
        "reconstruction.negative_log_likelihood": (
            "Reconstruction",
            "−log p(x|μ(x)), nats",
            "lower",
        ),
        "moments.mean_abs_correlation.mean": ("Correlation of μ", "mean |off-diagonal|", "lower"),
        "labels.nearest_neighbours": ("Neighbours", "accuracy on the code", "higher"),
    }
    rows = [RowLabel(entry.label, entry.method) for entry in groups]
    drawn = []
    for id, (heading, note, better) in panels.items():
        values = [
            [v for one in found if (v := value_of(_with_best(one.measurements), id)) is not None]
            for found in groups.values()
        ]
        if any(values):
            drawn.append(RangePanel(values, heading, note, better))
    return range_panels(rows, drawn, title=title)
