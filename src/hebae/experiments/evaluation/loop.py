"""Measure what is missing of one run, keeping each metric as soon as it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hebae.errors import UndefinedMetric
from hebae.evaluation.features import ClassifierFeatures, FeatureExtractor
from hebae.experiments.evaluation.measurement import Measurement
from hebae.experiments.evaluation.metrics import Metric
from hebae.experiments.evaluation.record import Entry, Record
from hebae.experiments.evaluation.subject import Subject
from hebae.provenance import provenance

__all__ = ["Kept", "measure"]


@dataclass
class Kept:
    """What is known of a run after an evaluation."""

    by_metric: dict[str, list[Measurement]] = field(default_factory=dict)
    by_section: dict[str, list[Measurement]] = field(default_factory=dict)
    measured: int = 0
    """Metrics that were measured now; the others were kept from before."""


def measure(
    subject: Subject,
    metrics: Sequence[Metric],
    judges: Mapping[str, FeatureExtractor],
    *,
    command: str,
    progress: Callable[[str], None],
) -> Kept:
    """Go through the metrics, in each feature space where they need one."""
    record = Record(subject.folder.evaluation, subject.identity)
    tasks = [
        (metric, judge)
        for metric in metrics
        for judge in (judges if metric.of_features else (None,))
    ]
    kept = Kept()
    for number, (metric, judge) in enumerate(tasks, 1):
        key, settings = metric.key(judge), subject.settings.kept(metric.depends)
        if judge is not None:
            settings |= _identity(judges[judge])
        entry = record.find(key, settings)
        if entry is None:
            progress(f"{key} ({number} of {len(tasks)})")
            if not kept.measured:
                record.add_provenance(_provenance(subject, command))
            kept.measured += 1
            begun = time.perf_counter()
            arguments = () if judge is None else (judges[judge],)
            try:
                found = list(metric.measure(subject, *arguments))
            except UndefinedMetric as reason:  # of all that it measures
                found = [Measurement(name=metric.name, undefined=str(reason))]
            entry = Entry(settings, found, round(time.perf_counter() - begun, 3))
            record.keep(key, entry)
        kept.by_metric.setdefault(metric.name, []).extend(entry.measurements)
        kept.by_section.setdefault(metric.section, []).extend(entry.measurements)
    return kept


def _identity(judge: FeatureExtractor) -> dict[str, Any]:
    """Say what a number in these features is of; a classifier's accuracy, what it is worth."""
    identity: dict[str, Any] = {"features": judge.name, "fingerprint": judge.fingerprint}
    if isinstance(judge, ClassifierFeatures):
        identity |= {"accuracy": judge.accuracy, "weights_sha256": judge.weights_sha256}
    return identity


def _provenance(subject: Subject, command: str) -> dict[str, str]:
    origin = provenance(command, subject.dataset, subject.run_settings, [subject.run_settings.seed])
    return origin | {"evaluation seed": str(subject.seed)}
