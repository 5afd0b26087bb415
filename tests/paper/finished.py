"""Runs of studies as if they had been trained and measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hebae.experiments.measurement import Measurement
from hebae.experiments.trained_run import RunResult
from hebae.paper.budgets import BUDGETS, Budget

SMOKE, SMALL = BUDGETS["smoke"], BUDGETS["small"]
SEEDS = Budget("small", (0, 1), (0, 1), SMALL.changes, SMALL.evaluation)
"""The budget small with two seeds everywhere, so that there can be verdicts."""
ONE_SEED = "undecided (one seed)"


@dataclass(frozen=True)
class Finished(RunResult):
    """A result that opens as what it is given."""

    opened: Any = None

    def open(self):
        return self.opened


def finished(planned, folder, values=None, *, objectives=(), features="", diverged="", opened=None):
    """Return a run in `folder` with these values by id, and held-out objectives by epoch.

    A value can also be a mapping of fields of `Measurement`.
    """
    path = folder / planned.label
    path.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {"epoch": epoch, "step": epoch, "seconds": 1.0, "learning_rate": 1e-3}
            | {"train": {}, "held_out": {"objective": value}}
        )
        for epoch, value in enumerate(objectives, 1)
    ]
    (path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    measurements = [
        Measurement(id=id, name=id, **_fields(value, features if "frechet" in id else ""))
        for id, value in (values or {}).items()
    ]
    return Finished(
        planned.label,
        planned.settings,
        path=path,
        dataset=None,
        reason=diverged,
        measurements=[] if diverged else measurements,
        opened=opened,
    )


def _fields(value, features):
    fields = value if isinstance(value, dict) else {"value": value, "counts": {"a": 9, "b": 5}}
    return {
        "features": features,
        "undefined": "no" if fields.get("value") is None else "",
        **fields,
    }


def verdicts(findings):
    return {one.key: one.verdict for one in findings.statements}
