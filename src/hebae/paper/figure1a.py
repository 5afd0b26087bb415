"""Figure 1a: objective, ELBO and likelihood on MNIST against epochs and against λ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hebae.experiments.plan import PlannedRun
from hebae.experiments.trained_run import RunResult
from hebae.paper.budgets import THREE, Budget, Plan
from hebae.paper.grids import WeightGrid, at_one, lines, over_weights, spread
from hebae.paper.statements import Statement, describe_methods, order, verdict
from hebae.paper.study import STUDIES, Drawing, Findings, Runs, Study
from hebae.report.charts import LinePanel
from hebae.report.lines import line_grid

DIMENSIONS = (2, 5, 10, 20)
LAMBDAS = (0.001, 0.005623, 0.03162, 0.1778, 1.0, 5.623, 31.62, 177.8, 1000.0)
"""Nine values, evenly spaced on a logarithmic scale."""
WAE_WEIGHT = 10.0
"""The preset's weight of the MMD. It counts as λ = 1 and is multiplied by λ."""
WAE_GRID_AT = 10
"""The latent dimension at which the budget `small` trains the WAE at every λ."""
TWO = ("hebae", "vae")


def plan(budget: Budget) -> Plan:
    """HEBAE and VAE at every k and λ; the WAE-MMD as far as the budget allows."""
    dimensions, lambdas = ((2, 10), LAMBDAS[4::4]) if budget.is_smoke else (DIMENSIONS, LAMBDAS)
    runs = []
    for seed, k, weight in product(budget.seeds, dimensions, lambdas):
        weights = dict.fromkeys(TWO, weight)
        if weight == 1 or budget.name == "full" or (k == WAE_GRID_AT and not budget.is_smoke):
            weights["wae"] = float(f"{WAE_WEIGHT * weight:.4g}")
        for method, own in weights.items():
            runs.append(budget.run("mnist", method, latent_dim=k, seed=seed, penalty_weight=own))
    return runs


def metrics(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """ELBO and IWAE of all runs; with the budget full also AIS at λ = 1."""
    own = WAE_WEIGHT if run.settings.method == "wae" else 1.0
    annealed = budget.name == "full" and run.settings.penalty_weight == own
    return ("elbo", "iwae", "ais") if annealed else ("elbo", "iwae")


def quantity(run: RunResult, name: str) -> float | None:
    """Return the last or the best objective over the epochs, or a measurement."""
    objectives = list(run.objectives.values())
    if name == "last_objective":
        return next(reversed(objectives), None)
    return max(objectives, default=None) if name == "best_objective" else run.value(name)


def by_dimension(runs: Runs) -> dict[int, list[RunResult]]:
    """Group runs by k, in ascending order."""
    dimensions = sorted({run.settings.latent_dim for run in runs})
    return {k: [run for run in runs if run.settings.latent_dim == k] for k in dimensions}


def grids(runs: Runs, name: str) -> dict[int, WeightGrid]:
    """Arrange a quantity by k, method, λ and seed."""
    return {
        k: over_weights(group, lambda run: quantity(run, name), {"wae": WAE_WEIGHT})
        for k, group in by_dimension(runs).items()
    }


def conclude(budget: Budget, runs: Runs) -> Findings:
    """Draw the objective as the paper does, and the bounds below it."""
    rows = [
        _by_epoch(runs),
        _by_weight(runs, "best_objective", TWO, "best objective"),
        _by_weight(runs, "elbo", TWO, "held-out ELBO"),
        _by_weight(runs, "iwae.fitted_width", THREE, "log p(x), IWAE"),
    ]
    figure = line_grid(rows, title="Objective, ELBO and likelihood of MNIST test images")
    texts = STUDIES["figure1a"]
    drawing = Drawing("figure1a", figure, "Objective, ELBO and likelihood", texts["caption"])
    notes = [texts["notes"]["objective"]]
    if budget.name != "full":
        notes.append(texts["notes"]["wae"])
    return Findings(state(runs), drawings=[drawing], notes=notes)


def state(runs: Runs) -> list[Statement]:
    """Compare HEBAE with the VAE at each k, at λ = 1 or by the range over λ."""
    statements = []
    for key, words in STUDIES["figure1a"]["statements"].items():
        if key == "ais" and not any(run.measurement("ais") for run in runs):
            continue
        by_range = words.get("over_weights", False)
        numbers: dict[str, float | None] = {}
        parts, cases = [], []
        for k, grid in grids(runs, words["of"]).items():
            values = {m: spread(grid, m) if by_range else at_one(grid, m) for m in TWO}
            shown, found = describe_methods(values, ",.1f", f"_k{k}")
            numbers |= found
            parts.append(f"k = {k}: {shown}")
            cases.append(order(*values.values(), lower=by_range))
        what = "greatest minus least value over λ" if by_range else "at λ = 1"
        result, source = f"{what}, in nats: {'; '.join(parts)}", words.get("source", "paper")
        statements.append(Statement(key, words["text"], result, numbers, verdict(*cases), source))
    return statements


def _by_epoch(runs: Runs) -> list[LinePanel]:
    """Make one panel per k of the objective at λ = 1."""
    panels = []
    for k, group in by_dimension(runs).items():
        values: dict[str, dict[float, list[float]]] = {method: {} for method in TWO}
        for run in group:
            if run.method in TWO and run.settings.penalty_weight == 1:
                for epoch, value in run.objectives.items():
                    values[run.method].setdefault(epoch, []).append(value)
        panels.append(LinePanel(values, f"k = {k}", "", "epoch", "objective, λ = 1"))
    return panels


def _by_weight(runs: Runs, name: str, methods: Sequence[str], label: str) -> list[LinePanel]:
    return [
        LinePanel(lines(grid, methods), "", "", "λ", label, "log", "negative log", 1.0)
        for grid in grids(runs, name).values()
    ]


STUDY = Study("figure1a", plan, metrics, conclude, {"iwae_samples": 500})
