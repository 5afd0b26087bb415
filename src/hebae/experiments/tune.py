"""`hebae tune`: the settings of a method with the best held-out criterion, searched by Optuna.

The weights of penalties are among what is searched, so the criterion is never the loss: its value
depends on them. Each trial is a training in a run folder of its own, in stages; after each stage
the criterion is measured on validation examples, and trials that are worse than the median of the
others at that stage are pruned.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, product
from pathlib import Path
from typing import Any

from hebae.config import Settings
from hebae.errors import HebaeError
from hebae.experiments.cluster import Cluster
from hebae.experiments.runner import ExperimentFolder
from hebae.experiments.search_space import example_trial, hardest_trial, parse_space
from hebae.experiments.trained_run import RunResult, load_dataset
from hebae.experiments.trials import (
    CRITERIA,
    LABELS,
    Outcome,
    Study,
    TrialTask,
    open_study,
    path_of,
    require_optuna,
    run_task,
    run_trial,
)
from hebae.files import make_folder, read_json, write_text
from hebae.methods import METHODS
from hebae.report import style
from hebae.report.charts import LinePanel
from hebae.report.lines import line_grid
from hebae.report.page import Picture, Section
from hebae.report.tables import Row, Table, Undefined
from hebae.run_folder import RunFolder
from hebae.training import session

MOST_VALIDATION = 5000
BEST = "best.yaml"


def plan(settings: Settings, space: Sequence[str], criterion: str = "auto") -> Study:
    """Load the data, set validation examples aside, and check settings, space and criterion.

    Raises
    ------
    HebaeError
        If a trial could not be trained, or the space or criterion is not possible.
    """
    require_optuna()
    if settings.devices > 1:
        raise HebaeError("tune trains on one device; leave out --devices.")
    notes = []
    dataset = load_dataset(settings)
    if dataset.validation is None:
        size = max(1, min(MOST_VALIDATION, len(dataset.train) // 10))
        settings = settings.replace(validation_size=size)
        dataset = load_dataset(settings)
        notes.append(
            f"{size:,} training examples are set aside for validation; trials are compared on them."
        )
    if dataset.validation is not None and len(dataset.validation) < 2:
        raise HebaeError(
            "trials are compared on at least 2 validation examples, but there is 1; give "
            "--validation-size 2 or more."
        )
    prepared = session.prepare(example_trial(space, settings), dataset)
    resolved = prepared.settings
    prepared.release()
    chosen = choose_criterion(resolved) if criterion == "auto" else criterion
    if chosen == "elbo" and not METHODS[resolved.method].stochastic:
        raise HebaeError(
            f"--objective elbo is not defined for --method {resolved.method}, whose encoder is "
            "deterministic; use iwae, frechet or reconstruction."
        )
    dimensions = parse_space(space, resolved)
    if chosen != "frechet" and any(dimension.name == "likelihood" for dimension in dimensions):
        raise HebaeError(
            f"--space likelihood: --objective {chosen} cannot be compared between likelihoods; use "
            "--objective frechet."
        )
    if chosen == "frechet" and dataset.train.columns is not None:
        raise HebaeError("--objective frechet is for images and tables of numbers; use iwae.")
    given = ", ".join(dimension.name for dimension in dimensions)
    try:
        session.prepare(hardest_trial(dimensions, settings), dataset).release()
    except HebaeError as error:
        raise HebaeError(f"some trials of --space {given} cannot be trained: {error}") from None
    settings = settings.replace(data=resolved.data, data_dir=resolved.data_dir)
    return Study(settings, dataset, dimensions, chosen, (*prepared.notes, *notes))


def choose_criterion(settings: Settings) -> str:
    """Return the default criterion: the ELBO where the method trains its noise, otherwise IWAE.

    Without a rate weight nothing keeps the noise of HEBAE from shrinking, and deterministic methods
    have none: their ELBO says nothing about the decoder. IWAE with a fitted width is defined for
    all methods.
    """
    without_rate = settings.method == "hebae" and not settings.rate_weight
    return "elbo" if METHODS[settings.method].stochastic and not without_rate else "iwae"


def run_study(
    study: Study,
    folder: ExperimentFolder,
    *,
    trials: int,
    timeout: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    command: str,
    progress: Callable[[str], None] = lambda message: None,
    cluster: Cluster | None = None,
) -> Table | None:
    """Run trials until the study has `trials` of them, earlier ones included; None if interrupted.

    A trial that diverges, or cannot be trained, is marked as failed with its reason.

    Parameters
    ----------
    study : Study
    folder : ExperimentFolder
        Gets a run folder per trial, Optuna's journal, ``best.yaml``, tables and ``report.html``.
    trials : int
    timeout : float, optional
        Seconds after which no further trial starts.
    resume, overwrite : bool
        Continue or replace the study in the folder.
    command : str
        Command for the provenance.
    progress : callable
        Receives a message before and after each trial.
    cluster : Cluster, optional
        Runs trials as tasks, several at the same time.

    Raises
    ------
    HebaeError
        If the folder holds a study with another space, criterion or settings; or if, in the end, no
        trial has a value.
    """
    states = require_optuna().trial.TrialState
    begin = time.monotonic()
    about = {"space": {d.name: d.text for d in study.space}, "objective": study.criterion}
    with folder.hold(resume=resume, overwrite=overwrite):
        if folder.mark.is_file():
            _require_same(folder, study, about)
        folder.write_mark(about, {"base": study.settings})
        of_optuna = open_study(study, folder.path)
        if math.prod(dimension.count for dimension in study.space) <= trials:
            for values in product(*(dimension.values for dimension in study.space)):
                combination = {d.name: v for d, v in zip(study.space, values, strict=True)}
                of_optuna.enqueue_trial(combination, skip_if_exists=True)
            trials = len(of_optuna.get_trials(deepcopy=False))
            progress("the space has no more values than trials: each combination is tried once")

        def numbers() -> Iterator[int]:
            """Trials that were interrupted, then new ones."""
            known = of_optuna.get_trials(deepcopy=False)
            yield from (one.number for one in known if one.state == states.RUNNING)
            for number in range(sum(one.state != states.WAITING for one in known), trials):
                if timeout and time.monotonic() - begin > timeout:
                    return
                progress(f"trial {number} ({number + 1} of {trials})")
                yield of_optuna.ask().number

        interrupted = False
        for number, outcome in _outcomes(study, numbers(), folder.path, command, cluster):
            if outcome.state == "interrupted":  # it stays as one that is running
                interrupted = True
                continue
            _tell(of_optuna, number, outcome)
            value = "" if outcome.value is None else f"{study.criterion} {outcome.value:.5g}"
            progress(f"trial {number}: {value or outcome.reason or outcome.state}")
        if interrupted or (cluster is not None and cluster.interrupted):
            return None
        return _publish(study, folder, of_optuna, about, command)


def _outcomes(
    study: Study, numbers: Iterator[int], folder: Path, command: str, cluster: Cluster | None
) -> Iterator[tuple[int, Outcome]]:
    """Run trials and yield each with its outcome; without a cluster, up to an interrupted one."""
    if cluster is None:
        for number in numbers:
            outcome = run_trial(study, number, folder, command)
            yield number, outcome
            if outcome.state == "interrupted":
                break
        return
    begun = []

    def tasks() -> Iterator[TrialTask]:
        for number in numbers:
            begun.append(number)
            yield TrialTask.of(study, number, folder, command)

    device = study.settings.device
    slots = cluster.slots(device)
    for place, outcome in cluster.run(run_task, tasks(), device=device, at_once=slots):
        yield begun[place], outcome


def _tell(of_optuna: Any, number: int, outcome: Outcome) -> None:
    states = require_optuna().trial.TrialState
    if outcome.state == "complete":
        of_optuna.tell(number, outcome.value)
    elif outcome.state == "pruned":
        of_optuna.tell(number, state=states.PRUNED)
    else:
        of_optuna.tell(number, state=states.FAIL)


def _require_same(folder: ExperimentFolder, study: Study, about: dict[str, Any]) -> None:
    folder.require_same({"base": study.settings})
    stored = read_json(folder.mark, "start again with --overwrite")
    for name, now in about.items():
        if stored.get(name) != now:
            raise HebaeError(
                f"{folder.path} holds a study whose {name} is {stored.get(name)}, not {now}; give "
                "the same value, or name another --output."
            )


def _publish(
    study: Study,
    folder: ExperimentFolder,
    of_optuna: Any,
    about: dict[str, Any],
    command: str,
) -> Table:
    """Write best settings, tables, figure and page; return the table."""
    states = require_optuna().trial.TrialState
    ended = states.COMPLETE, states.PRUNED, states.FAIL
    trials = of_optuna.get_trials(deepcopy=False, states=ended)
    sign = -1 if study.higher_is_better else 1
    finished = sorted(
        (t for t in trials if t.state == states.COMPLETE), key=lambda t: sign * t.value
    )
    if not finished:
        reason = "no trial was begun in time"
        if trials:
            reason = trials[0].user_attrs.get("reason") or "it failed"
        raise HebaeError(
            f"none of the {len(trials)} trials of {folder.path} has a result. The first: {reason}"
        )
    best = path_of(folder.path, finished[0].number)
    settings = RunFolder(best).settings()
    write_text(folder.path / BEST, settings.to_yaml())
    rows: list[Row] = []
    for one in [*finished, *(t for t in trials if t.state != states.COMPLETE)]:
        result: str | Undefined = Undefined(one.user_attrs.get("reason", "it failed"))
        epochs = "failed"
        if one.state in (states.COMPLETE, states.PRUNED):
            stage, value = max(one.intermediate_values.items())
            result = f"{value:.5g}"
            epochs = f"{stage}, pruned" if one.state == states.PRUNED else str(stage)
        cells = [epochs]
        cells += [_text(one.params.get(dimension.name)) for dimension in study.space]
        rows.append(Row(f"trial {one.number}", [result, *cells], best=[0] if not rows else []))
    better = CRITERIA[study.criterion][2]
    notes = [
        f"{LABELS[study.criterion]}: {better} is better. It is measured on {_count(study)} "
        "validation examples. The best value is optimistic, since the trial was selected on these "
        "examples: measure it with hebae evaluate on a test split.",
        f"Best settings: {BEST}. Train with them: hebae train --config {folder.path / BEST}",
    ]
    heads = [study.criterion, "epochs", *(dimension.name for dimension in study.space)]
    title = f"{study.dataset.name}: {len(trials)} trials of {study.settings.method}"
    table = Table(title, heads, rows, notes)
    make_folder(folder.figures)
    points: dict[float, list[float]] = {t.number: [t.value] for t in finished}
    ordered = dict(sorted(points.items()))
    best_values = accumulate((value for (value,) in ordered.values()), max if sign < 0 else min)
    so_far = {number: [value] for number, value in zip(ordered, best_values, strict=True)}
    lines = {"trial": ordered, "best so far": so_far}
    panel = LinePanel(lines, x_label="trial", y_label=study.criterion)
    figure = line_grid([[panel]], title=title)
    style.save(figure, folder.figures / "trials.png")
    picture = Picture(
        (folder.figures / "trials.png").read_bytes(),
        "The criterion by trial",
        LABELS[study.criterion],
    )
    space = {dimension.name: dimension.text for dimension in study.space}
    sections = [
        Section("Trials", [table]),
        Section("Progress", [picture]),
        Section("Search space", [space]),
    ]
    base = RunResult(
        "base",
        study.settings,
        {},
        path=folder.path,
        dataset=study.dataset,
        evaluation=study.evaluation,
        reason="",
    )
    content = {**about, "best": settings.model_dump(mode="json"), "trials": table.records()}
    folder.publish([base], table, title, sections, content, command)
    return replace(table, notes=())


def _count(study: Study) -> str:
    """Return the number of validation examples, as text."""
    assert study.dataset.validation is not None
    return f"{len(study.dataset.validation):,}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
