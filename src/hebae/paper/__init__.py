"""The studies of ``hebae reproduce``: the figures of the HEBAE paper, and questions of our own.

To add a study, write ``paper/NAME.py`` with a `STUDY` (see `hebae.paper.study`) and add its name to
`NAMES`. ``figure4`` is the shortest example. A study has three functions:

- ``plan(budget)`` lists the runs. ``budget.run("mnist", "hebae", latent_dim=20, seed=0)`` is a run
  of a preset within the budget. Name only the settings that differ from the preset: studies share
  every run whose settings are the same.
- ``metrics(budget, run)`` names metrics of ``hebae evaluate``.
- ``conclude(budget, runs)`` turns the measured runs into statements, tables and figures.

Training, measuring and writing are common to all studies (`hebae.paper.reproduce`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from hebae.errors import HebaeError, suggestion

if TYPE_CHECKING:
    from hebae.paper.study import Study

__all__ = ["NAMES", "choose"]

NAMES = (
    "figure1a",
    "figure1b",
    "figure2",
    "figure3",
    "figure4",
    "table",
    "rate",
    "prior",
    "binary",
    "ablations",
)
"""In the order of the paper, followed by studies that the paper does not have."""


def choose(names: Sequence[str]) -> list[Study]:
    """Return the studies of these names, or all of them for "all".

    Raises
    ------
    HebaeError
        If a name is unknown, or none is given.
    """
    if not names:
        raise HebaeError(f"name a study, or all: {', '.join(NAMES)}.")
    for name in {*names} - {*NAMES, "all"}:
        hint = suggestion(name, NAMES)
        raise HebaeError(f"there is no study {name!r}{hint}; allowed are all, {', '.join(NAMES)}.")
    chosen = [name for name in NAMES if name in names or "all" in names]
    return [import_module(f"{__name__}.{name}").STUDY for name in chosen]
