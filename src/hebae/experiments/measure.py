"""Measure what is missing of a run and store it in ``evaluation.json``, one metric at a time.

The file holds, for each metric (and feature space), one entry per combination of settings::

    {"of": {"weights": ..., "data": ..., "examples": ...},
     "metrics": {"frechet[pixels]": [{"version": 1, "settings": {...}, "provenance": {...},
                                      "seconds": 1.2, "measurements": [{"id": ..., ...}]}]}}

An entry is reused if weights, data, settings and the version of its metric are the same. Entries of
hebae 0.1.0, which did not have a version per metric, are kept until they are measured again.
"""

from __future__ import annotations

import ctypes
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from hebae.data import Dataset
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation.features import extractor
from hebae.evaluation.features.base import FeatureExtractor
from hebae.experiments.measurement import Measurement
from hebae.experiments.metrics import METRICS, Metric
from hebae.experiments.metrics.bounds import not_white
from hebae.experiments.settings import EvaluationSettings, held_out
from hebae.experiments.trained_run import RunResult, TrainedRun, choose_device, examples_of
from hebae.files import read_json, write_text
from hebae.folders import locked
from hebae.provenance import provenance

WAIT = 60
"""Seconds that an evaluation waits for another one, which holds the folder while it writes."""
_MEASUREMENT = TypeAdapter(Measurement)


def take(run: TrainedRun, metrics: Sequence[str]) -> list[Measurement]:
    """Take metrics without feature spaces, by name, and store nothing."""
    return [
        _of_metric(one, METRICS[name]) for name in metrics for one in _measure(METRICS[name], run)
    ]


def whiteness_warning(path: Path, dataset: Dataset, device: str) -> str:
    """Return what `not_white` says of the held-out codes of a run that has just been trained."""
    run = TrainedRun(path, dataset, held_out(dataset, device))
    if len(run.examples) < 2:  # which have no covariance
        return ""
    return not_white(take(run, ("objective", "moments")), run.split)


def applicable(run: TrainedRun, metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics that are for data of this kind; a HebaeError if none is."""
    chosen = [metric for metric in metrics if metric.applies(run)]
    if metrics and not chosen:
        names = ", ".join(metric.name for metric in metrics)
        others = [name for name, metric in METRICS.items() if metric.applies(run)]
        raise HebaeError(
            f"--metrics {names} cannot be measured on {run.dataset.name}; use {', '.join(others)}."
        )
    return chosen


def measure(
    run: TrainedRun,
    metrics: Sequence[Metric],
    extractors: Mapping[str, FeatureExtractor],
    *,
    command: str,
    progress: Callable[[str], None] = lambda message: None,
    store: Path | None = None,
) -> list[Measurement]:
    """Return the measurements of a run; take and store those that are not stored yet.

    Parameters
    ----------
    run : TrainedRun
        Run to measure.
    metrics, extractors
        See `hebae.experiments.metrics.choose` and `feature_extractors`.
    command : str
        Command for the provenance.
    progress : callable
        Receives a message before each metric that is taken.
    store : Path, optional
        Folder for ``evaluation.json`` instead of the run's own, which is then only read.

    Raises
    ------
    HebaeError
        If ``evaluation.json`` is damaged or cannot be written, or another process holds the run.
    """
    chosen = applicable(run, metrics)
    tasks = [(m, name) for m in chosen for name in (extractors if m.of_features else (None,))]
    target = (store or run.path) / run.folder.evaluation.name
    with locked(target.parent) if is_writable(target.parent) else nullcontext():
        pass  # nobody trains it; other evaluations may go on beside this one
    identity = run.identity
    record = Record(target if target.is_file() else run.folder.evaluation, identity)
    record.path = target
    found: list[Measurement] = []
    for number, (metric, name) in enumerate(tasks, 1):
        if number > 1 and metric.section != tasks[number - 2][0].section:
            run.release_samples()  # which only metrics of one section share
            _return_free_memory()
        key = metric.name if name is None else f"{metric.name}[{name}]"
        settings = run.evaluation.model_dump(mode="json", include=set(metric.depends))
        arguments = () if name is None else (extractors[name],)
        for features in arguments:
            settings |= {"features": features.name, "fingerprint": features.fingerprint}
            if features.weights_sha256:
                weights = {"weights_sha256": features.weights_sha256}
                settings |= {"accuracy": features.accuracy, **weights}
        stored = record.find(key, settings, metric.version)
        if stored is None:
            progress(f"{key} ({number} of {len(tasks)})")
            begin = time.perf_counter()
            stored = _measure(metric, run, *arguments)
            origin = provenance(command, run.dataset, run.settings, [run.settings.seed])
            device = str(choose_device(run.evaluation.device))
            origin |= {"evaluation seed": str(run.seed), "device": device}
            seconds = round(time.perf_counter() - begin, 3)
            if run.identity != identity:
                raise HebaeError(
                    f"{run.path} was trained again while it was evaluated; evaluate it again."
                )
            record.add(key, settings, metric.version, stored, origin, seconds)
            _return_free_memory()
            stored = [replace(one, settings=settings, provenance=origin) for one in stored]
        found += [_of_metric(one, metric) for one in stored]
    run.release_samples()
    _return_free_memory()
    return found


def _measure(metric: Metric, run: TrainedRun, *extractors: Any) -> list[Measurement]:
    """Measure; a metric that is undefined for this run has one measurement, with the reason."""
    try:
        return list(metric.measure(run, *extractors))
    except UndefinedMetric as reason:
        return [Measurement(id=metric.name, name=metric.name, undefined=str(reason))]


def _return_free_memory() -> None:
    """Return to the system what the C library keeps of freed arrays; each metric frees many."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def evaluate_run(
    result: RunResult,
    metrics: Sequence[Metric],
    settings: EvaluationSettings,
    *,
    command: str,
    progress: Callable[[str], None] = lambda message: None,
) -> RunResult:
    """Return the result with these metrics; measure what ``evaluation.json`` does not have yet."""
    result = replace(result, evaluation=settings)
    if result.diverged:
        return result
    run = result.open()
    metrics = applicable(run, metrics)
    extractors = feature_extractors(result.dataset, metrics, settings, progress=progress)
    found = measure(run, metrics, extractors, command=command, progress=progress)
    return replace(result, measurements=found)


def is_writable(folder: Path) -> bool:
    """Whether files can be created in a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


class Record:
    """The contents of an ``evaluation.json`` (which need not exist) of these weights and data.

    A HebaeError is raised if the file is altered or truncated.
    """

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        self.path = path
        self.identity = dict(identity)
        self.entries: dict[str, list[dict[str, Any]]] = {}
        if path.exists():
            stored = read_json(path, "remove it to evaluate the run again")
            with self._checked():
                entries = {key: [dict(e) for e in es] for key, es in stored["metrics"].items()}
                self.entries = entries if stored["of"] == self.identity else {}

    def find(self, key: str, settings: Mapping[str, Any], version: int) -> list[Measurement] | None:
        """Return the measurements with these settings and this version of the metric, or None."""
        with self._checked():
            for entry in self.entries.get(key, ()):
                if entry["settings"] == settings and entry["version"] == version:
                    origin = {"settings": entry["settings"], "provenance": entry["provenance"]}
                    return [
                        _MEASUREMENT.validate_python({**m, **origin}) for m in entry["measurements"]
                    ]
        return None

    def add(
        self,
        key: str,
        settings: Mapping[str, Any],
        version: int,
        measurements: Sequence[Measurement],
        provenance: Mapping[str, str],
        seconds: float,
    ) -> None:
        """Add an entry, in place of one with the same settings, to what the file holds by now."""
        entry = {
            "version": version,
            "settings": dict(settings),
            "provenance": dict(provenance),
            "seconds": seconds,
            "measurements": [one.to_json() for one in measurements],
        }
        with locked(self.path.parent, seconds=WAIT):
            if self.path.exists():  # another evaluation may have written it meanwhile
                self.entries = Record(self.path, self.identity).entries
            others = [e for e in self.entries.get(key, ()) if e.get("settings") != settings]
            self.entries[key] = [*others, entry]
            content = {"of": self.identity, "metrics": self.entries}
            write_text(self.path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise HebaeError(
                f"{self.path} is altered or truncated ({type(error).__name__}); remove it to "
                "evaluate the run again."
            ) from None


def feature_extractors(
    dataset: Dataset,
    metrics: Sequence[Metric],
    settings: EvaluationSettings,
    *,
    notify: Callable[[str], None] = lambda note: None,
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, FeatureExtractor]:
    """Make the feature extractors that the metrics need, by the names they were asked for by.

    A HebaeError is raised if one is not available, or the Frechet distance needs more samples.
    """
    names = settings.features
    if settings.weights is not None and "inception" not in (names or ()):
        raise HebaeError(
            f"--weights {settings.weights} belongs to Inception; add --features inception, or omit "
            "--weights."
        )
    if not any(metric.of_features for metric in metrics):
        return {}
    if names is None:
        labelled = dataset.train.labels is not None and len(dataset.shape) == 3
        names = ("classifier",) if labelled else ("pixels",)
        notify(
            f"Samples are compared in the features of {names[0]}. Choose others with --features: "
            "classifier, pixels, random, efficientnet-lite0, inception, timm:NAME or the file of "
            "an exported network."
        )
    found = {}
    for name in names:
        progress(f"features: {name}")
        found[name] = extractor(
            name,
            dataset=dataset.pictures,
            weights=settings.weights if name == "inception" else None,
            device=choose_device(settings.device),
            progress=lambda done, steps: progress(f"classifier: step {done:,} of {steps:,}"),
        )
        if any(metric.name == "frechet" for metric in metrics):
            _require_enough(found[name], dataset, settings)
    return found


def _require_enough(
    features: FeatureExtractor, dataset: Dataset, settings: EvaluationSettings
) -> None:
    """Refuse an explicit choice that is impossible; for defaults, the table says "undefined"."""
    minimum, chosen = features.minimum, settings.model_fields_set
    available = len(examples_of(dataset, settings.split))
    explicit = "features" in chosen or ("samples" in chosen and available >= minimum)
    enough = min(settings.samples, available) >= minimum
    if enough or settings.allow_rank_deficient or not explicit:
        return
    have = f"the {settings.split} split of {dataset.name} has {available}"
    advice = "use another --split"
    if settings.samples < minimum:
        have, advice = f"--samples is {settings.samples}", "increase it"
    raise HebaeError(
        f"the Frechet distance in {features.name} needs at least {minimum} samples and references, "
        f"but {have}; {advice}, choose other --features, or pass --allow-rank-deficient."
    )


def _of_metric(measurement: Measurement, metric: Metric) -> Measurement:
    return replace(measurement, metric=metric.name, section=metric.section)
