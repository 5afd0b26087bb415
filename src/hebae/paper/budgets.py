"""Planned runs, and the budgets ``smoke``, ``small`` and ``full`` (``budgets.yaml``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from hebae.config import AFFECT_NOTHING, AFFECT_ROUNDING, resolve
from hebae.experiments.plan import PlannedRun
from hebae.methods import METHODS

Plan = list[PlannedRun]
THREE = ("hebae", "vae", "wae")
"""The methods that the paper compares."""
MNIST_WEIGHTS = {"hebae": 1.0, "vae": 1.0, "wae": 10.0, "ae": 1.0}
"""The paper's penalty weights for MNIST."""


def planned(preset: str, method: str, *, seed: int, **changes: Any) -> PlannedRun:
    """Plan a run: a preset with some settings changed.

    The label, the name of the run's folder, holds the main settings and a hash of all declared
    settings that affect the result. Runs with the same label are the same run. Only declared
    settings count, so that a setting added in a later version changes no label. Declare only what
    differs from the preset: a declared value that equals the preset's makes another label.
    """
    s = resolve(preset, None, {"method": method, "seed": seed, **changes})
    data = Path(s.data).stem
    options = METHODS[method].options.items()
    defaults = {name for name, option in options if getattr(s, name) == option.default}
    undeclared = (defaults - changes.keys()) | AFFECT_NOTHING | AFFECT_ROUNDING
    values = s.model_dump(mode="json", include=s.model_fields_set - undeclared)
    text = json.dumps(values | {"data": data}, sort_keys=True)
    label = (
        f"{data}-{method}-k{s.latent_dim}-lambda{s.penalty_weight:g}-{s.epochs}epochs-seed{seed}-"
        f"{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    )
    return PlannedRun(label, s)


def data_of(run: PlannedRun) -> str:
    """Return the name of a run's data set; for a path, its last part without the suffix."""
    return Path(run.settings.data).stem


def unique(runs: Iterable[PlannedRun]) -> Plan:
    """Return each run once, sorted so that runs of one architecture and method are adjacent."""
    by_label = {run.label: run for run in runs}

    def kind(run: PlannedRun) -> tuple[str, str, str, int]:
        return data_of(run), run.settings.network, run.settings.method, run.settings.latent_dim

    return sorted(by_label.values(), key=kind)


@dataclass(frozen=True)
class Budget:
    """What all studies of a budget share; see ``budgets.yaml``."""

    name: str
    seeds: Sequence[int]
    table_seeds: Sequence[int]
    changes: Mapping[str, Mapping[str, Any]]
    evaluation: Mapping[str, Any]

    @property
    def is_smoke(self) -> bool:
        """Whether the runs only show that everything works."""
        return self.name == "smoke"

    def run(self, preset: str, method: str, *, seed: int = 0, **changes: Any) -> PlannedRun:
        """Plan a run of a preset within this budget; see `planned`."""
        return planned(preset, method, seed=seed, **{**self.changes[preset], **changes})

    def mnist(self, method: str, k: int, preset: str = "mnist", **changes: Any) -> PlannedRun:
        """Plan a run with latent dimension `k`, by default at the paper's penalty weight."""
        changes = {"penalty_weight": MNIST_WEIGHTS[method], **changes}
        return self.run(preset, method, latent_dim=k, **changes)


_FILE = files("hebae.paper").joinpath("budgets.yaml")
BUDGETS = {
    name: Budget(name, **values)
    for name, values in yaml.safe_load(_FILE.read_text(encoding="utf-8")).items()
}
