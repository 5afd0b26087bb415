"""`hebae tune`: the settings of a method with the best held-out criterion, searched by Optuna.

The weights of penalties are among what is searched, so the criterion is never the loss: its value
depends on them. Each trial is a training in a run folder of its own, in stages; after each stage
the criterion is measured on validation examples, and trials that are worse than the median of the
others at that stage are pruned.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hebae.config import Settings
from hebae.data import Dataset
from hebae.errors import HebaeError, MissingPackage, UndefinedMetric
from hebae.experiments.measure import feature_extractors
from hebae.experiments.metrics import METRICS
from hebae.experiments.runner import ExperimentFolder
from hebae.experiments.search_space import Dimension, parse_space
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.trained_run import RunResult, TrainedRun, load_dataset
from hebae.files import make_folder, read_json, write_text
from hebae.methods import METHODS
from hebae.report import style
from hebae.report.lines import LinePanel, line_grid
from hebae.report.page import Picture, Section
from hebae.report.tables import Row, Table, Undefined
from hebae.run_folder import RunFolder
from hebae.training import session
from hebae.training.callbacks import Callback
from hebae.training.monitor import DivergenceError

CRITERIA = {  # the metric, the id of its measurement, and what is better
    "elbo": ("elbo", "elbo", "higher"),
    "iwae": ("iwae", "iwae.fitted_width", "higher"),
    "reconstruction": ("reconstruction", "reconstruction.negative_log_likelihood", "lower"),
    "frechet": ("frechet", "frechet", "lower"),
}
LABELS = {
    "elbo": "held-out ELBO, nats",
    "iwae": "held-out log p(x), IWAE with a fitted width, nats",
    "reconstruction": "held-out -log p(x|mu(x)), nats",
    "frechet": "Frechet distance to validation examples, in pixels or columns, best sampler",
}
STAGES = (0.25, 0.5, 1.0)
"""Parts of the epochs after which the criterion is measured."""
IWAE = {"iwae_samples": 200, "iwae_examples": 200}
MOST_VALIDATION = 5000
STARTUP_TRIALS = 5
"""Trials before others are pruned, and before settings are chosen by earlier results."""
JOURNAL, BEST = "journal.log", "best.yaml"


@dataclass(frozen=True)
class Study:
    """What is searched, on which data, and by which criterion."""

    settings: Settings
    """Of every trial, but for the space. What they leave to the data is decided for each trial."""
    dataset: Dataset
    space: Sequence[Dimension]
    criterion: str
    notes: Sequence[str] = ()

    @property
    def stages(self) -> list[int]:
        """Epochs after which the criterion is measured; the last are all of them."""
        epochs = self.settings.epochs
        has_warm_up = "warm_up_epochs" in METHODS[self.settings.method].options
        first = max(1, self.settings.warm_up_epochs if has_warm_up else 1)
        found = {math.ceil(part * epochs) for part in STAGES}
        return sorted(stage for stage in found if stage >= first or stage == epochs)


def plan(settings: Settings, space: Sequence[str], criterion: str = "auto") -> Study:
    """Load the data, set validation examples aside, and check settings, space and criterion.

    Raises
    ------
    HebaeError
        If a trial with the settings as they are could not be trained, or the space or criterion is
        not possible.
    """
    _optuna()
    if settings.devices > 1:
        raise HebaeError("tune trains on one device; leave out --devices.")
    notes = []
    dataset = load_dataset(settings)
    if dataset.validation is None:
        size = max(1, min(MOST_VALIDATION, len(dataset.train) // 10))
        settings = settings.replace(validation_size=size)
        dataset = load_dataset(settings)
        notes.append(f"{size:,} training examples are set aside: trials are compared on them.")
    prepared = session.prepare(settings, dataset)
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
        raise HebaeError("--objective frechet is for images and columns of numbers; use iwae.")
    settings = settings.replace(data=resolved.data, data_dir=resolved.data_dir)
    return Study(settings, dataset, dimensions, chosen, (*prepared.notes, *notes))


def choose_criterion(settings: Settings) -> str:
    """Return the default criterion: the ELBO where the method trains its noise, otherwise IWAE.

    Nothing holds the noise of HEBAE up without a rate weight, and deterministic methods have none:
    their ELBO says nothing of the decoder. IWAE with a fitted width is defined for all methods.
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
    callbacks: Callable[[Settings], Sequence[Callback]] = lambda settings: (),
    progress: Callable[[str], None] = lambda message: None,
) -> Table | None:
    """Run trials until the study has `trials` of them, earlier ones included; None if interrupted.

    A trial that diverges, or cannot be trained, is marked as failed with its reason. A trial that
    was interrupted resumes at its last checkpoint.

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
        For the provenance.
    callbacks : callable
        From the settings of a trial to what follows its training.
    progress : callable
        Receives a message before and after each trial.

    Raises
    ------
    HebaeError
        If the folder holds a study with another space, criterion or settings; or if, in the end, no
        trial has a value.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    begin = time.monotonic()
    states = optuna.trial.TrialState
    about = {"space": {d.name: d.text for d in study.space}, "objective": study.criterion}
    with folder.hold(resume=resume, overwrite=overwrite):
        if folder.mark.is_file():
            _require_same(folder, study, about)
        folder.write_mark(about, {"base": study.settings})
        journal = optuna.storages.journal
        storage = journal.JournalStorage(journal.JournalFileBackend(str(folder.path / JOURNAL)))
        of_optuna = optuna.create_study(
            storage=storage,
            study_name="hebae",
            load_if_exists=True,
            direction="maximize" if _is_higher_better(study) else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
        )
        extractors = _extractors(study)
        while True:
            known = of_optuna.get_trials(deepcopy=False)
            # In another order than before it was resumed, but the same for each number of trials.
            of_optuna.sampler = optuna.samplers.TPESampler(
                seed=study.settings.seed + len(known), n_startup_trials=STARTUP_TRIALS
            )
            begun = [one for one in known if one.state == states.RUNNING]
            if begun:
                trial = optuna.trial.Trial(of_optuna, begun[0]._trial_id)
            elif len(known) >= trials or (timeout and time.monotonic() - begin > timeout):
                break
            else:
                trial = of_optuna.ask()
            path = folder.runs / f"trial-{trial.number:03}"
            progress(f"trial {trial.number} ({trial.number + 1} of {trials})")
            try:
                value = _run_trial(study, trial, path, folder.path, extractors, command, callbacks)
            except optuna.TrialPruned:
                of_optuna.tell(trial, state=states.PRUNED)
                progress(f"trial {trial.number} was pruned")
            except HebaeError as reason:
                if isinstance(reason, DivergenceError):
                    RunFolder(path).mark_diverged(str(reason))
                trial.set_user_attr("reason", str(reason))
                of_optuna.tell(trial, state=states.FAIL)
                progress(f"trial {trial.number} failed: {reason}")
            else:
                if value is None:  # interrupted; the trial stays as one that is running
                    return None
                of_optuna.tell(trial, value)
                progress(f"trial {trial.number}: {study.criterion} {value:.5g}")
        return _publish(study, folder, of_optuna, about, command)


def _run_trial(
    study: Study,
    trial: Any,
    path: Path,
    group: Path,
    extractors: Any,
    command: str,
    callbacks: Callable[[Settings], Sequence[Callback]],
) -> float | None:
    """Train in stages and measure after each; return the last value, or None if interrupted."""
    optuna = _optuna()
    values = {dimension.name: dimension.suggest(trial) for dimension in study.space}
    settings = study.settings.replace(**values)
    done = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    value = math.nan
    for stage in study.stages:
        if stage in done:
            value = done[stage]
            continue
        prepared = session.prepare(settings.replace(epochs=stage), study.dataset)
        run = RunFolder(path)
        finished = run.is_finished and run.settings().epochs == stage
        if not finished:
            member = session.run(
                prepared,
                path,
                command=command,
                resuming=run.is_run,
                callbacks=callbacks,
                group=group,
            )
            if member.interrupted:
                return None
        value = _measure(study, path, extractors)
        trial.report(value, stage)
        if stage < study.stages[-1] and trial.should_prune():
            raise optuna.TrialPruned
    return value


def _measure(study: Study, path: Path, extractors: Any) -> float:
    name, id, _ = CRITERIA[study.criterion]
    run = TrainedRun(path, study.dataset, _evaluation(study))
    arguments = [extractors[key] for key in extractors] if METRICS[name].of_features else []
    found = list(METRICS[name].measure(run, *arguments))
    if name == "frechet":
        wanted = [f"frechet.{sampler}" for sampler in run.sampler_names]
        values = [one.value for one in found if one.id in wanted and one.value is not None]
        value = min(values, default=None)
    else:
        value = next((one.value for one in found if one.id == id), None)
    if value is None:
        reasons = "; ".join(dict.fromkeys(one.undefined for one in found if one.undefined))
        raise UndefinedMetric(f"{study.criterion} is undefined ({reasons})")
    return value


def _evaluation(study: Study) -> EvaluationSettings:
    values: dict[str, Any] = {"split": "validation", "device": study.settings.device, **IWAE}
    own = () if study.settings.prior == "normal" else ("prior",)
    values |= {"features": ("pixels",), "samplers": ("normal", "fitted-normal", *own)}
    return EvaluationSettings.model_validate(values | {"allow_rank_deficient": True})


def _extractors(study: Study) -> Any:
    metric = METRICS[CRITERIA[study.criterion][0]]
    return feature_extractors(study.dataset, [metric], _evaluation(study))


def _is_higher_better(study: Study) -> bool:
    return CRITERIA[study.criterion][2] == "higher"


def _require_same(folder: ExperimentFolder, study: Study, about: dict[str, Any]) -> None:
    folder.require_same({"base": study.settings})
    stored = read_json(folder.mark, "start again with --overwrite")
    for name, now in about.items():
        if stored.get(name) != now:
            raise HebaeError(
                f"{folder.path} holds a study with another {name} ({stored.get(name)}, and {now} "
                "is asked for); give the same, or name another --output."
            )


def _publish(
    study: Study,
    folder: ExperimentFolder,
    of_optuna: Any,
    about: dict[str, Any],
    command: str,
) -> Table:
    """Write best settings, tables, figure and page; return the table."""
    states = _optuna().trial.TrialState
    trials = of_optuna.get_trials(deepcopy=False)
    sign = -1 if _is_higher_better(study) else 1
    finished = sorted(
        (t for t in trials if t.state == states.COMPLETE), key=lambda t: sign * t.value
    )
    if not finished:
        reasons = "; ".join(dict.fromkeys(t.user_attrs.get("reason", "") for t in trials))
        raise HebaeError(f"no trial of {folder.path} has a result: {reasons}")
    best = folder.runs / f"trial-{finished[0].number:03}"
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
        "validation examples, which do not tell how good the best trial is on new data: measure "
        "that with hebae evaluate on a test split.",
        f"Best settings: {BEST}. Train with them: hebae train --config {folder.path / BEST}",
    ]
    heads = [study.criterion, "epochs", *(dimension.name for dimension in study.space)]
    title = f"{study.dataset.name}: {len(trials)} trials of {study.settings.method}"
    table = Table(title, heads, rows, notes)
    make_folder(folder.figures)
    points: dict[float, list[float]] = {t.number: [t.value] for t in finished}
    ordered = dict(sorted(points.items()))
    so_far: dict[float, list[float]] = {}
    for number, (value,) in ordered.items():
        so_far[number] = [min([sign * value, *(sign * v for (v,) in so_far.values())]) * sign]
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
        evaluation=_evaluation(study),
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


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise MissingPackage(
            "hebae tune needs optuna: install it with pip install 'hebae[tune]'."
        ) from None
    return optuna
