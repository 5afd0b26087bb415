"""HEBAE with a rate term, over λ and γ: whether all of the paper's claims can hold at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hebae.experiments.table import tabulate
from hebae.experiments.trained_run import RunResult
from hebae.paper.budgets import Budget, Plan
from hebae.paper.statements import MISSING, Case, Statement, all_of, any_of, median, order, verdict
from hebae.paper.study import STUDIES, Drawing, Findings, Runs, Study
from hebae.report.methods import display_name
from hebae.report.style import QUIET, SEQUENTIAL, describe, literal, new_figure, styled
from hebae.report.tables import Row, Table

LAMBDAS = (1.0, 3.0, 10.0)
GAMMAS = (0.0, 0.01, 0.1, 0.3, 1.0)
"""0 is the paper's objective; 1, with λ = 1, is an ELBO."""
BASELINES = ("vae", "wae")
"""Methods that the grid is compared with, at the paper's weights."""
QUANTITIES, CONDITIONS = STUDIES["rate"]["quantities"], STUDIES["rate"]["conditions"]


class Point(NamedTuple):
    """λ, γ, and the runs there, which differ only in their seed."""

    weight: float
    gamma: float
    runs: list[RunResult]

    def values(self, name: str) -> list[float | None]:
        """Return a quantity of `QUANTITIES`, one value per seed."""
        return [run.value(QUANTITIES[name]["id"]) for run in self.runs]

    def median(self, name: str) -> float | None:
        """Return its median over the seeds."""
        return median(self.values(name))


Baselines = Mapping[str, Point]


def plan(budget: Budget) -> Plan:
    """HEBAE at every λ and γ, and the baselines; MNIST, k = 20.

    At λ = 1, the paper's value, and for the baselines with the seeds of a table.
    """
    k, lambdas, gammas = (4, LAMBDAS[:2], GAMMAS[::3]) if budget.is_smoke else (20, LAMBDAS, GAMMAS)
    runs = [budget.mnist(m, k, seed=seed) for seed in budget.table_seeds for m in BASELINES]
    for weight, gamma in product(lambdas, gammas):
        changes: dict[str, Any] = {"penalty_weight": weight}
        if gamma:  # γ = 0 is not declared, so that other studies share the run
            changes["rate_weight"] = gamma
        seeds = budget.table_seeds if weight == 1 else budget.seeds
        runs += [budget.mnist("hebae", k, seed=seed, **changes) for seed in seeds]
    return runs


def conclude(budget: Budget, runs: Runs) -> Findings:
    """Map each quantity over the grid, and test the paper's claims at each point."""
    grid, baselines = points(runs)
    title = f"HEBAE with a rate term, MNIST, k = {runs[0].settings.latent_dim}"
    gamma, seeds, _ = STUDIES["rate"]["notes"].values()
    statements = [*(somewhere(name, grid, baselines) for name in CONDITIONS)]
    statements.append(at_once(grid, baselines))
    tables = [table_of_points(grid, baselines, title)]
    return Findings(statements, tables, [draw(grid, title)], [gamma, seeds])


def points(runs: Runs) -> tuple[list[Point], Baselines]:
    """Return the points of HEBAE's grid, by λ and γ, and the baselines."""
    groups: dict[tuple[str, float, float], list[RunResult]] = {}
    for run in runs:
        key = (run.method, run.settings.penalty_weight, run.settings.rate_weight)
        groups.setdefault(key, []).append(run)
    found = [(key[0], Point(*key[1:], groups[key])) for key in sorted(groups)]
    grid = [point for method, point in found if method == "hebae"]
    return grid, {method: point for method, point in found if method != "hebae"}


def somewhere(name: str, grid: Sequence[Point], baselines: Baselines) -> Statement:
    """State that a claim is true at some point, and report the best point."""
    against = CONDITIONS[name]["methods"]
    known = [(value, point) for point in grid if (value := point.median(name)) is not None]
    pick = max if QUANTITIES[name]["better"] == "higher" else min
    best = pick(known, key=lambda pair: pair[0])[1] if known else None
    numbers = _place(best) | {"hebae": best.median(name) if best else None}
    numbers |= {method: baselines[method].median(name) for method in against}
    form = QUANTITIES[name]["form"]
    others = ", ".join(f"{display_name(method)} {{{method}:{form}}}" for method in against)
    result = f"HEBAE {{hebae:{form}}} at λ = {{lambda:g}}, γ = {{gamma:g}}; {others}"
    case = any_of(_case(name, point, baselines) for point in grid)
    text = CONDITIONS[name]["text"]
    return Statement(name, text, result, numbers, verdict(case), "ours")


def at_once(grid: Sequence[Point], baselines: Baselines) -> Statement:
    """State that one point satisfies all claims, and report the one that satisfies the most.

    The report goes by the medians over the seeds. Of points that satisfy as many claims it names
    the one with the highest log p(x).
    """
    ranked: list[tuple[int, float, Point, list[str]]] = []
    for point in grid:
        met = {name: _case(name, point, baselines, of_medians=True) for name in CONDITIONS}
        likelihood = point.median("likelihood")
        if MISSING not in met.values() and likelihood is not None:
            failed = [name for name, case in met.items() if case is not True]
            ranked.append((-len(failed), likelihood, point, failed))
    *_, best, failed = max(ranked, key=lambda entry: entry[:2], default=(None, []))
    count = len(CONDITIONS) - len(failed) if best else None
    missing = f"; not satisfied: {', '.join(failed)}" if failed else ""
    result = f"{{met:.0f}} of {len(CONDITIONS)} at λ = {{lambda:g}}, γ = {{gamma:g}}{missing}"
    case = any_of(all_of(_case(name, p, baselines) for name in CONDITIONS) for p in grid)
    text = "At one λ and γ all of the paper's claims are true"
    numbers = {**_place(best), "met": count}
    return Statement("at-once", text, result, numbers, verdict(case), "ours")


def _case(name: str, point: Point, baselines: Baselines, *, of_medians: bool = False) -> Case:
    """Tell whether a point satisfies a claim; `of_medians` as if these were all seeds."""
    lower = QUANTITIES[name]["better"] == "lower"
    others = [baselines[method] for method in CONDITIONS[name]["methods"]]
    ours, *theirs = (
        [one.median(name)] * 2 if of_medians else one.values(name) for one in (point, *others)
    )
    return all_of(order(ours, values, lower=lower) for values in theirs)


def _place(point: Point | None) -> dict[str, float | None]:
    return {"lambda": point and point.weight, "gamma": point and point.gamma}


def table_of_points(grid: Sequence[Point], baselines: Baselines, title: str) -> Table:
    """Tabulate every quantity, one row per point."""
    named = {f"λ = {p.weight:g}, γ = {p.gamma:g}": p.runs for p in grid}
    for method, p in baselines.items():
        named[f"{display_name(method)}, λ = {p.weight:g}"] = p.runs
    columns = {}
    for one in QUANTITIES.values():
        for row in tabulate(named, title, ids=[one["id"]]).rows:
            columns[f"{one['title']}, {one['note']}"] = row.values
    rows = [Row(label, cells) for label, *cells in zip(named, *columns.values(), strict=True)]
    return Table(title, list(columns), rows, [STUDIES["rate"]["notes"]["sigma"]])


def draw(grid: Sequence[Point], title: str) -> Drawing:
    """Draw one map per quantity: λ on the vertical axis, γ on the horizontal one."""
    lambdas = sorted({point.weight for point in grid})
    gammas = sorted({point.gamma for point in grid})
    maps = {}
    for name in QUANTITIES:
        medians = {(point.weight, point.gamma): point.median(name) for point in grid}
        maps[name] = [[medians.get((w, g)) for g in gammas] for w in lambdas]
    figure = draw_maps(maps, lambdas, gammas, title=title)
    return Drawing("rate", figure, title, STUDIES["rate"]["caption"])


@styled()
def draw_maps(
    maps: Mapping[str, Any],
    lambdas: Sequence[float],
    gammas: Sequence[float],
    *,
    title: str = "",
) -> Figure:
    """Draw maps of `QUANTITIES` over the grid, NaN or None where there is no value.

    Colours show ranks, dark for the smallest value: the maps have different units, and one outlier
    would leave no colours for the other values. The best cell is framed.
    """
    across = min(3, len(maps)) or 1
    down = math.ceil(len(maps) / across)
    width, height = across * (0.5 * len(gammas) + 0.85), down * (0.3 * len(lambdas) + 0.85) + 0.4
    figure = new_figure(width, height, maps, title, what="map")
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(maps) :]:
        axes.set_axis_off()
    for place, (axes, (name, values)) in enumerate(zip(grid.flat, maps.items(), strict=False)):
        _draw_map(axes, QUANTITIES[name], np.asarray(values, np.float64))
        axes.set_xticks(range(len(gammas)), [f"{value:g}" for value in gammas])
        axes.set_yticks(range(len(lambdas)), [f"{value:g}" for value in lambdas])
        is_lowest = place + across >= len(maps)
        axes.set(xlabel="γ" if is_lowest else "", ylabel="" if place % across else "λ")
    return figure


def _draw_map(axes: Axes, quantity: Mapping[str, str], values: NDArray[np.float64]) -> None:
    known = np.isfinite(values)
    shades = np.full(values.shape, np.nan)
    ordered = np.unique(values[known])
    rank = np.searchsorted(ordered, values[known]) / max(1, len(ordered) - 1)
    shades[known] = 0.12 + (0.95 - 0.12) * rank  # the part of the scale on which text is legible
    colours = colormaps[SEQUENTIAL].with_extremes(bad="#EEEEEE")
    shown = np.ma.masked_invalid(shades)
    axes.imshow(shown, cmap=colours, vmin=0, vmax=1, origin="lower", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text, colour = "–", QUIET
        if known[row, column]:
            text = literal(format(value, quantity["form"]))
            colour = "white" if shades[row, column] < 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    if (better := quantity.get("better")) and known.any():
        pick = np.nanargmax if better == "higher" else np.nanargmin
        row, column = np.unravel_index(pick(np.where(known, values, np.nan)), values.shape)
        frame = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, clip_on=False)
        frame.set(edgecolor="#D55E00", linewidth=2)
        axes.add_patch(frame)
    describe(axes, quantity["title"], quantity["note"])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


METRICS = ("reconstruction", "elbo", "iwae", "frechet", "moments", "information")
STUDY = Study("rate", plan, METRICS, conclude, {"iwae_samples": 500})
