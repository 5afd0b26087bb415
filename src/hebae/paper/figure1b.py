"""Figure 1b: the Frechet distance of face samples against λ."""

from __future__ import annotations

from itertools import product
from typing import Literal

from hebae.paper import faces
from hebae.paper.budgets import THREE, Budget, Plan
from hebae.paper.grids import WeightGrid, at_one, lines, over_weights, spread
from hebae.paper.statements import Statement, compare
from hebae.paper.study import STUDIES, Drawing, Findings, Runs, Study
from hebae.report.charts import LinePanel
from hebae.report.lines import line_grid

FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Multiples of the preset's weight."""
KINDS = {"normal": "z from N(0, I)", "mixture": "z from a mixture", "reconstructions": "z = μ(x)"}
"""Titles of the panels."""


def plan(budget: Budget) -> Plan:
    """Three methods at each multiple of the preset's weight."""
    factors = (0.1, 1.0) if budget.is_smoke else FACTORS
    grid = product(budget.seeds, factors, THREE)
    return [faces.face_run(budget, method, factor, seed=seed) for seed, factor, method in grid]


def conclude(budget: Budget, runs: Runs) -> Findings:
    """Draw the distances in each feature space."""
    texts = STUDIES["figure1b"]
    title = f"Frechet distance against λ, {faces.label(runs[0])}"
    panels = [_row(runs, space) for space in feature_spaces(runs)]
    drawings = []
    if panels:
        figure = line_grid(panels, title=title)
        drawings.append(Drawing("figure1b", figure, title, texts["caption"]))
    notes = faces.notes(budget)
    if "inception" not in (faces.features(runs[0]) or ("inception",)):
        notes.append(texts["notes"]["fid"].format(reason=faces.inception_problem()))
    return Findings(state(runs), [faces.weight_table(runs)], drawings, notes)


def state(runs: Runs) -> list[Statement]:
    """Compare the distances at the preset's λ, and how far they vary over λ.

    The first features decide: Inception's where they are available, then EfficientNet-Lite0's.
    """
    space = next(iter(feature_spaces(runs)), "")
    normal, mixture = (_grid(runs, kind, space) for kind in ("normal", "mixture"))
    values = {
        "samples": {m: at_one(normal, m) for m in THREE},
        "robust": {m: spread(normal, m, ratio=True) for m in THREE},
        "samples-mixture": {m: at_one(mixture, m) for m in THREE},
    }
    return [compare("figure1b", key, by_method) for key, by_method in values.items()]


def feature_spaces(runs: Runs) -> list[str]:
    """Return the feature spaces in which distances were measured, in their order."""
    spaces = [
        one.features
        for run in runs
        for one in run.measurements
        if one.id == "frechet.normal" and one.value is not None
    ]
    return list(dict.fromkeys(spaces))


def _grid(runs: Runs, kind: str, space: str) -> WeightGrid:
    return over_weights(runs, lambda run: run.value(f"frechet.{kind}", space), faces.WEIGHTS)


def _row(runs: Runs, space: str) -> list[LinePanel]:
    grids = {kind: _grid(runs, kind, space) for kind in KINDS}
    positive = all(v is None or v > 0 for grid in grids.values() for v in grid.values())
    scale: Literal["log", "linear"] = "log" if positive else "linear"  # a distance may be 0
    panels = []
    for kind, grid in grids.items():
        measured = next(m for run in runs if (m := run.measurement(f"frechet.{kind}", space)))
        counts = "/".join(map(str, measured.counts.values()))
        values, x = lines(grid, THREE), "λ / the preset's λ"
        panels.append(LinePanel(values, KINDS[kind], counts, x, space, "log", scale, 1.0))
    return panels


STUDY = Study("figure1b", plan, ("frechet",), conclude, {"samplers": ("normal", "mixture")})
