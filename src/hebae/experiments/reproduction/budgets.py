"""How much a study may cost: ``smoke``, ``small``, ``full``; seeds and settings of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hebae.experiments.reproduction.plan import PlannedRun, planned

__all__ = ["BUDGETS", "Budget"]


@dataclass(frozen=True)
class Budget:
    """What all studies of a budget share.

    Parameters
    ----------
    name : str
    seeds : tuple of int
        Of studies of many runs.
    table_seeds : tuple of int
        Of studies that state a spread.
    changes : mapping of str to mapping
        By preset: settings that depart from it.
    evaluation : mapping
        Settings of `EvaluationSettings` that depart from those of ``hebae evaluate``.
    """

    name: str
    seeds: tuple[int, ...]
    table_seeds: tuple[int, ...]
    changes: Mapping[str, Mapping[str, Any]]
    evaluation: Mapping[str, Any]

    def run(self, preset: str, method: str, *, seed: int = 0, **changes: Any) -> PlannedRun:
        """Plan a run of a preset within this budget; see `planned`."""
        return planned(preset, method, seed=seed, **{**self.changes[preset], **changes})


_TINY = {
    "data": "mnist-mini",
    "epochs": 2,
    "encoder_widths": (64, 64),
    "decoder_widths": (64, 64),
}
_TINY_FACES = {
    "data": "made-faces",
    "latent_dim": 8,
    "epochs": 3,
    "learning_rate": 0.001,
    "encoder_widths": (16, 32),
    "decoder_widths": (32, 16),
}
# An eighth of the paper's widths, 64 times fewer operations.
_NARROW = {
    "epochs": 6,
    "learning_rate": 0.001,
    "encoder_widths": (16, 32, 64, 128),
    "decoder_widths": (128, 64, 32, 16),
}

BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(
            "smoke",
            seeds=(0,),
            table_seeds=(0,),
            changes={"mnist": _TINY, "mnist-released": _TINY, "celeba": _TINY_FACES},
            evaluation={
                "features": ("pixels",),
                "samples": 1000,
                "iwae_samples": 20,
                "iwae_examples": 50,
                "ais_temperatures": 20,
                "ais_chains": 2,
                "ais_examples": 10,
            },
        ),
        Budget(
            "small",
            seeds=(0,),
            table_seeds=(0, 1, 2),
            changes={
                "mnist": {"epochs": 12},
                "mnist-released": {"epochs": 12},
                "celeba": _NARROW,
            },
            # An eighth of the work; the gap that is left is measured, and stands in the table.
            evaluation={"ais_temperatures": 500, "ais_chains": 4},
        ),
        Budget(
            "full",
            seeds=(0, 1, 2, 3, 4),
            table_seeds=(0, 1, 2, 3, 4),
            changes={"mnist": {}, "mnist-released": {}, "celeba": {}},
            evaluation={},
        ),
    )
}
