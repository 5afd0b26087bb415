"""Quantities over a grid of penalty weights, as figures 1a and 1b compare them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hebae.experiments.trained_run import RunResult
from hebae.paper.statements import Values
from hebae.paper.study import Runs

WeightGrid = dict[tuple[str, float, int], float | None]
"""By method, λ and seed: a number, or None where it is undefined."""


def over_weights(
    runs: Runs, pick: Callable[[RunResult], float | None], weight_at_one: Mapping[str, float]
) -> WeightGrid:
    """Arrange the quantity that `pick` returns of the runs by method, λ and seed.

    `weight_at_one` has, by method, the penalty weight that counts as λ = 1; 1 if it is not named.
    """
    grid = {}
    for run in runs:
        ratio = run.settings.penalty_weight / weight_at_one.get(run.method, 1.0)
        grid[run.method, float(f"{ratio:.4g}"), run.settings.seed] = pick(run)
    return grid


def at_one(grid: WeightGrid, method: str) -> Values:
    """Return the values of a method at λ = 1, one per seed."""
    return [value for (name, weight, _), value in grid.items() if (name, weight) == (method, 1)]


def spread(grid: WeightGrid, method: str, *, ratio: bool = False) -> Values:
    """Return how far a method's quantity varies over λ, one number per seed.

    It is the greatest value minus the least, or divided by it; None for a seed that has no value at
    some λ at which any method has one, and for a ratio to 0.
    """
    weights = {weight for (_, weight, _), value in grid.items() if value is not None}
    spreads: list[float | None] = []
    for seed in dict.fromkeys(seed for name, _, seed in grid if name == method):
        values = [v for w in weights if (v := grid.get((method, w, seed))) is not None]
        if len(values) < max(2, len(weights)) or (ratio and min(values) <= 0):
            spreads.append(None)
        else:
            spreads.append(max(values) / min(values) if ratio else max(values) - min(values))
    return spreads


def lines(grid: WeightGrid, methods: Sequence[str]) -> dict[str, dict[float, list[float]]]:
    """Return the values of each method by λ, as `hebae.report.lines.LinePanel` takes them."""
    found: dict[str, dict[float, list[float]]] = {method: {} for method in methods}
    for (method, weight, _), value in grid.items():
        if method in found and value is not None:
            found[method].setdefault(weight, []).append(value)
    return found
