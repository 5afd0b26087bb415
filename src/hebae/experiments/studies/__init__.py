"""The studies of ``hebae reproduce``, a file each (``ablations``: a folder), by name.

To add one, write ``studies/NAME.py`` with a `STUDY`, under a hundred lines, and put its name into
`NAMES`; ``figure2`` is the shortest to start from. It needs three functions:

- ``plan(budget)`` lists the runs: ``budget.run("mnist", "hebae", latent_dim=20, seed=0)`` is a run
  of the preset within the budget. Name only the settings that depart from the preset: a run is
  shared with every study that asks for the same settings.
- ``measures(budget, run)`` names metrics of ``hebae evaluate``; `Study.evaluation` sets how much.
- ``conclude(budget, runs)`` makes `Findings` of the runs, trained and measured: claims with
  verdicts (``reproduction.claims`` has the common forms), tables, the records of the CSV, figures
  (drawn by ``hebae.report``; those that show faces say so). A run answers
  ``value(metric, words)``, ``history()``, ``method`` and, for pictures, ``subject()``. A run that
  diverged has no values: None, which `verdict` and `median` leave out.

Everything else is done for it. `Budget.changes` needs the settings of a preset that no study has
used before. No study imports another.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from hebae.errors import HebaeError

if TYPE_CHECKING:
    from hebae.experiments.reproduction.study import Study

__all__ = ["NAMES", "choose"]

NAMES = ("figure1a", "figure1b", "figure2", "figure3", "figure4", "table", "rate", "ablations")
"""In the order of the paper; then what it does not have."""


def choose(names: Sequence[str]) -> list[Study]:
    """Return the studies of these names, or all of them for "all".

    Raises
    ------
    HebaeError
        If a name is unknown, or none is given.
    """
    if not names:
        raise HebaeError(f"name a study, or all: {', '.join(NAMES)}.")
    for name in names:
        if name not in (*NAMES, "all"):
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise HebaeError(
                f"there is no study {name!r}{hint}; allowed are all, {', '.join(NAMES)}."
            )
    chosen = [name for name in NAMES if name in names or "all" in names]
    studies: list[Study] = [import_module(f"{__name__}.{name}").STUDY for name in chosen]
    return studies
