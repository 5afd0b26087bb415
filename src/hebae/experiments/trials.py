"""A trial of `hebae tune`: trained in stages, measured after each, pruned if it is not promising.

A trial runs in the process of the study, or in another one with the same folder: all that they
share is Optuna's journal there, and the run folder of the trial.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hebae.config import Settings
from hebae.data import Dataset
from hebae.errors import FolderError, HebaeError, MissingPackage, UndefinedMetric
from hebae.experiments.cluster_runs import PATIENCE, require_shared, shared_dataset
from hebae.experiments.measure import feature_extractors
from hebae.experiments.metrics import METRICS
from hebae.experiments.search_space import Dimension
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.trained_run import TrainedRun
from hebae.folders import locked
from hebae.methods import METHODS
from hebae.run_folder import RunFolder
from hebae.training import interrupt, session
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
STARTUP_TRIALS = 5
"""Trials before others are pruned, and before settings are chosen by earlier results."""
JOURNAL, RUNS = "journal.log", "runs"


@dataclass(frozen=True)
class Study:
    """What is searched, on which data, and by which criterion."""

    settings: Settings
    """Settings of every trial, except for the space; each trial completes them from the data."""
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

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger criterion is better."""
        return CRITERIA[self.criterion][2] == "higher"

    @property
    def evaluation(self) -> EvaluationSettings:
        """How the criterion is measured."""
        own = () if self.settings.prior == "normal" else ("prior",)
        values: dict[str, Any] = {"split": "validation", "device": self.settings.device, **IWAE}
        values |= {"features": ("pixels",), "samplers": ("normal", "fitted-normal", *own)}
        return EvaluationSettings.model_validate(values | {"allow_rank_deficient": True})


class Outcome(NamedTuple):
    """How a trial ended: its criterion if it is complete, and why it failed."""

    state: Literal["complete", "pruned", "failed", "interrupted"]
    value: float | None = None
    reason: str = ""


def require_optuna() -> Any:
    """Return the package; a `MissingPackage` if it is not installed."""
    try:
        import optuna
    except ImportError:
        raise MissingPackage(
            "hebae tune needs optuna: install it with pip install 'hebae[tune]'."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_study(study: Study, folder: Path) -> Any:
    """Open Optuna's study in a folder, or create it."""
    optuna = require_optuna()
    journal = optuna.storages.journal
    path = folder / JOURNAL
    try:
        found = optuna.create_study(
            storage=journal.JournalStorage(journal.JournalFileBackend(str(path))),
            study_name="hebae",
            load_if_exists=True,
            direction="maximize" if study.higher_is_better else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
        )
        for trial in found.get_trials(deepcopy=False):
            _require_whole(trial)
        return found
    except OSError as error:
        raise HebaeError(f"cannot write {path}: {error.strerror}.") from None
    except Exception as error:  # of many kinds, also assertions
        raise HebaeError(
            f"{path} is altered or truncated ({type(error).__name__}); restore it, or start again "
            "with --overwrite."
        ) from error


def _require_whole(trial: Any) -> None:
    """Raise a ValueError unless a trial has the values that its state needs, all of them finite."""
    values = [*trial.intermediate_values.values()]
    if trial.state.name == "COMPLETE":
        values.append(trial.value)
    if trial.state.name in ("COMPLETE", "PRUNED") and not trial.intermediate_values:
        raise ValueError("a trial has no values")
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise ValueError("a trial has a value that is no number")


def path_of(folder: Path, number: int) -> Path:
    """Return the run folder of a trial."""
    return folder / RUNS / f"trial-{number:03}"


def run_trial(study: Study, number: int, folder: Path, command: str) -> Outcome:
    """Train trial `number` of the study in `folder`, which has begun, and measure it.

    A trial that was interrupted resumes at its last checkpoint. Nothing is told Optuna but the
    criterion after each stage.
    """
    optuna = require_optuna()
    of_optuna = open_study(study, folder)
    # By the trial's number, so that a study has the same trials if it was resumed.
    of_optuna.sampler = optuna.samplers.TPESampler(
        seed=study.settings.seed + number, n_startup_trials=STARTUP_TRIALS
    )
    known = of_optuna.get_trials(deepcopy=False)[number]
    trial = optuna.trial.Trial(of_optuna, known._trial_id)
    path = path_of(folder, number)
    try:
        values = {dimension.name: dimension.suggest(trial) for dimension in study.space}
        settings = study.settings.replace(**values)
        value = math.nan
        for stage in study.stages:
            if stage in known.intermediate_values:
                value = known.intermediate_values[stage]
            else:
                if not _train(study, settings.replace(epochs=stage), path, folder, command):
                    return Outcome("interrupted")
                value = _measure(study, path)
                trial.report(value, stage)
            if stage < study.stages[-1] and trial.should_prune():
                return Outcome("pruned")
        return Outcome("complete", value)
    except FolderError:
        raise  # it says nothing of the settings, and the trial can go on later
    except HebaeError as reason:
        if isinstance(reason, DivergenceError):
            RunFolder(path).mark_diverged(str(reason))
        trial.set_user_attr("reason", str(reason))
        return Outcome("failed", reason=str(reason))


@dataclass(frozen=True)
class TrialTask:
    """A trial that another process runs, which loads the data itself."""

    study: Study
    fingerprint: str
    number: int
    folder: Path
    command: str

    @classmethod
    def of(cls, study: Study, number: int, folder: Path, command: str) -> TrialTask:
        """Make the task of a trial of `study`."""
        without_data: Any = replace(study, dataset=None)  # type: ignore[arg-type]
        return cls(without_data, study.dataset.fingerprint, number, folder.absolute(), command)


def run_task(task: TrialTask, report: Any) -> Outcome:
    """Run a trial as a task of a cluster: see `hebae.experiments.cluster.Cluster.run`."""
    require_shared(task.folder)
    path = path_of(task.folder, task.number)
    if path.is_dir():
        with locked(path, seconds=PATIENCE):
            pass  # a worker that was lost has really ended
    study = replace(task.study, dataset=shared_dataset(task.study.settings, task.fingerprint))
    outcome = run_trial(study, task.number, task.folder, task.command)
    if outcome.state == "interrupted" and interrupt.exit_status() != 130:
        os._exit(interrupt.exit_status())  # this node is taken away: another worker resumes
    return outcome


def _train(study: Study, settings: Settings, path: Path, group: Path, command: str) -> bool:
    """Train a run up to the settings' epochs; return whether it got there."""
    run = RunFolder(path)
    if run.is_finished and run.settings().epochs == settings.epochs:
        return True
    prepared = session.prepare(settings, study.dataset)
    member = session.run(prepared, path, command=command, resuming=run.is_run, group=group)
    return not member.interrupted


def _measure(study: Study, path: Path) -> float:
    name, id, _ = CRITERIA[study.criterion]
    run = TrainedRun(path, study.dataset, study.evaluation)
    extractors = feature_extractors(study.dataset, [METRICS[name]], study.evaluation)
    found = list(METRICS[name].measure(run, *extractors.values()))
    if name == "frechet":
        wanted = [f"frechet.{sampler}" for sampler in run.sampler_names]
        values = [one.value for one in found if one.id in wanted and one.value is not None]
        value = min(values, default=None)
    else:
        value = next((one.value for one in found if one.id == id), None)
    if value is None:
        reasons = "; ".join(dict.fromkeys(one.undefined for one in found if one.undefined))
        raise UndefinedMetric(f"{study.criterion} is undefined ({reasons})")
    if not math.isfinite(value):
        raise UndefinedMetric(f"{study.criterion} is {value}, which cannot be compared")
    return value
