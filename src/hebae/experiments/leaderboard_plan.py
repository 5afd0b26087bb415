"""The plan of a leaderboard: its rows, its budgets, and the runs of each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from hebae.config import Settings, resolve
from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.experiments.plan import PlannedRun
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.trained_run import RunResult, examples_of
from hebae.methods import METHODS, SAMPLER_NAMES

_FILE = files("hebae.experiments").joinpath("leaderboard.yaml")
_TEXTS = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
BUDGETS: dict[str, dict[str, Any]] = _TEXTS["budgets"]
PRESETS: dict[str, str] = _TEXTS["presets"]
_FEATURES = 512
"""Most features of the networks that a budget compares samples in."""
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
        options = METHODS[self.method].options.values()
        return next((option.name for option in options if option.is_weight), None)


ENTRIES = {
    **{name: Entry(name, method.display_name, name) for name, method in METHODS.items()},
    **{key: Entry(key, **values) for key, values in _TEXTS["entries"].items()},
}


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
            raise HebaeError(
                f"leaderboard does not take --{flag}, since {decided[name]}; leave it out."
            )

    @property
    def plan(self) -> dict[str, Any]:
        """The budget's settings, as in ``leaderboard.yaml``."""
        return BUDGETS[self.budget]

    def settings(self, entry: Entry, stage: str, **changes: Any) -> Settings:
        """Return the settings of a run of an entry; flags go before the budget's settings."""
        values = {**self.plan[stage], **entry.settings, **self.flags, **changes}
        settings = resolve(self.preset, self.config, values | {"method": entry.method})
        if settings.devices > 1:
            raise HebaeError("leaderboard trains each model on one device; leave out --devices.")
        return settings

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
            one = self.settings(entry, "choose", **changes)
            return [PlannedRun(f"choose-{entry.key}", one, {"entry": entry.key})]
        default = getattr(self.settings(entry, "choose", **changes), entry.weight)
        runs = []
        for factor in self.plan["factors"]:
            weight = float(f"{default * factor:.4g}")
            one = self.settings(entry, "choose", **changes, **{entry.weight: weight})
            about = {"entry": entry.key, "weight": weight}
            runs.append(PlannedRun(f"choose-{entry.key}-{weight:g}", one, about))
        return runs

    def final(self, entry: Entry, data: str, seed: int, chosen: Settings) -> PlannedRun:
        """Plan a run with the chosen weight."""
        changes: dict[str, Any] = {"seed": seed, "data": data}
        if entry.weight is not None:
            changes[entry.weight] = getattr(chosen, entry.weight)
        label = f"{Path(data).name}-{entry.key}-seed{seed}"
        return PlannedRun(label, self.settings(entry, "train", **changes), {"entry": entry.key})


def evaluation(plan: Mapping[str, Any], run: RunResult, *, final: bool) -> EvaluationSettings:
    """Return how a run is evaluated.

    Samples are compared with as many examples as there are, even if these are fewer than the
    features need for a covariance of full rank: it is the same for all rows. Images of more pixels
    than that are compared in the features of a random network.
    """
    dataset = run.dataset
    every = final and run.settings.seed in plan["seeds"][: plan["all_samplers"]]
    values = {
        "split": last_split(dataset) if final else "validation",
        "samplers": SAMPLER_NAMES if every else tuple(plan["samplers"]),
        "device": run.settings.device,
        **plan["evaluation"],
    }
    settings = EvaluationSettings(**values)
    count = min(settings.samples, len(examples_of(dataset, settings.split)))
    if count > max(_FEATURES, math.prod(dataset.shape)):
        return settings
    is_image, labelled = len(dataset.shape) == 3, dataset.train.labels is not None
    if is_image and (settings.features == ("pixels",) or not (settings.features or labelled)):
        values["features"] = ("random",)
    return EvaluationSettings(**values | {"allow_rank_deficient": True})


def last_split(dataset: Dataset) -> str:
    """Return the split that the chosen models are measured on."""
    return "test" if dataset.test is not None else "validation"
