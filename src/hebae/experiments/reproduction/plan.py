"""A planned training, and the name of its folder: the same settings, the same folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hebae.config import AFFECT_ROUNDING, MAY_CHANGE_ON_RESUME, Settings, resolve

__all__ = ["PlannedRun", "planned", "unique"]

NOT_OF_THE_RESULT = ((MAY_CHANGE_ON_RESUME | AFFECT_ROUNDING) - {"epochs"}) | {"devices"}
"""Settings that say where a run computes and what it writes, and leave its result as it is."""


@dataclass(frozen=True)
class PlannedRun:
    """A training that a study asks for.

    Parameters
    ----------
    settings : Settings
        As declared: what they leave open is decided when the data are there.
    declared : tuple of str
        Names of the settings that were given; the others have their defaults.
    """

    settings: Settings
    declared: tuple[str, ...]

    @property
    def data(self) -> str:
        """Name of the data set; of a path its last part, wherever the machine keeps it."""
        return Path(self.settings.data).stem

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of the settings that bear on the result.

        Only declared settings count: a setting that a later version adds changes no name.
        """
        values = self.settings.model_dump(mode="json", include=set(self.declared))
        values = {name: v for name, v in values.items() if name not in NOT_OF_THE_RESULT}
        text = json.dumps(values | {"data": self.data}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """Name of the run's folder: what a person looks for, and the fingerprint."""
        s = self.settings
        return (
            f"{self.data}-{s.method}-k{s.latent_dim}-lambda{s.penalty_weight:g}-"
            f"{s.epochs}epochs-seed{s.seed}-{self.fingerprint}"
        )


def planned(preset: str, method: str, *, seed: int, **changes: Any) -> PlannedRun:
    """Plan a run: a preset with some settings changed.

    Give only what departs from the preset: a value that is given and equals it makes another name,
    and the run is not shared with the studies that left it out.
    """
    settings = resolve(preset, None, {"method": method, "seed": seed, **changes})
    return PlannedRun(settings, tuple(sorted(settings.model_fields_set)))


def unique(runs: Iterable[PlannedRun]) -> list[PlannedRun]:
    """Return each run once, those of one architecture and method side by side."""
    by_name = {run.name: run for run in runs}

    def kind(run: PlannedRun) -> tuple[str, str, str, int]:
        s = run.settings
        return (run.data, s.network, s.method, s.latent_dim)

    return sorted(by_name.values(), key=kind)
