"""Runs of studies as if they had been trained and measured."""

from __future__ import annotations

import json

from hebae.experiments.evaluation.loop import Kept
from hebae.experiments.evaluation.measurement import Measurement
from hebae.experiments.reproduction.study import FinishedRun


def finished(planned, folder, objectives=(), measurements=None, diverged=""):
    """A run in `folder` with these held-out objectives by epoch, and measurements by metric."""
    path = folder / planned.name
    path.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"epoch": epoch, "train": {}, "held_out": {"objective": value}})
        for epoch, value in enumerate(objectives, 1)
    ]
    (path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    by_metric = {
        metric: [Measurement(name=name, **_fields(value)) for name, value in named.items()]
        for metric, named in (measurements or {}).items()
    }
    kept = Kept(by_metric, {"All": [m for found in by_metric.values() for m in found]})

    def no_model():
        raise AssertionError("a test opened a model that is not there")

    return FinishedRun(planned, path, kept, no_model, diverged)


def _fields(value):
    return (
        value if isinstance(value, dict) else {"value": value, "undefined": "" if value else "no"}
    )
