"""The table: every metric of all methods at the paper's settings, over several seeds."""

from __future__ import annotations

from collections.abc import Sequence

from hebae.paper.budgets import Budget, PlannedRun
from hebae.paper.statements import Statement, by_method, compare, limit, spelled, summary, verdict
from hebae.paper.study import TEXTS, Findings, Study, StudyRun, table_of
from hebae.report.methods import display_name

WEIGHTS = {"hebae": 1.0, "vae": 1.0, "wae": 10.0, "ae": 1.0}
CORRELATION = "moments.mean_abs_correlation.mean"
TWO, THREE = ("hebae", "vae"), ("hebae", "vae", "wae")
COMPARED = {
    "objective": ("objective", TWO),
    "correlation": (CORRELATION, THREE),
    "mic": ("mic.mic", THREE),
    "tic": ("mic.tic", THREE),
    "samples-normal": ("frechet.normal", TWO),
    "samples-mixture": ("frechet.mixture", TWO),
    "likelihood": ("ais", THREE),
}
"""Statements of figures 1a, 2 and 4: the measurement and the methods that they compare."""
TARGETS = {
    "vae-elbo": ("vae", "elbo", -1, 104, False),  # of the negative ELBO
    "hebae-reconstruction": ("hebae", "elbo.reconstruction", 1, 66, False),
    "hebae-correlation": ("hebae", CORRELATION, 1, 0.02, False),
    "vae-correlation": ("vae", CORRELATION, 1, 0.1, True),
}
"""Method, measurement, its sign, bound, and whether the target is to be above it."""


def plan(budget: Budget) -> list[PlannedRun]:
    """MNIST, k = 20, four methods at the paper's weights, one run per seed."""
    return [
        budget.run("mnist", method, latent_dim=20, penalty_weight=weight, seed=seed)
        for seed in budget.table_seeds
        for method, weight in WEIGHTS.items()
    ]


def metrics(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """All metrics; for smoke the fast ones."""
    return ("fast",) if budget.is_smoke else ("all",)


def conclude(budget: Budget, runs: Sequence[StudyRun]) -> Findings:
    """Tabulate all measurements."""
    columns = {
        display_name(method): [run for run in runs if run.method == method] for method in WEIGHTS
    }
    seeds, epochs = ", ".join(map(str, budget.table_seeds)), runs[0].planned.settings.epochs
    title = f"MNIST, k = 20, {epochs} epochs, seeds {seeds}: test examples"
    notes = TEXTS["table"]["notes"]
    table = table_of(columns, title, [notes["objectives"]])
    return Findings(state(runs), [table], notes=[notes["targets"].format(epochs=epochs)])


def state(runs: Sequence[StudyRun]) -> list[Statement]:
    """Compare the methods over several seeds, and each with its targets."""
    statements = [
        compare("table", key, by_method(runs, id, methods))
        for key, (id, methods) in COMPARED.items()
        if any(run.measurement(id) for run in runs)
    ]
    for key, (method, id, sign, bound, above) in TARGETS.items():
        text, form = TEXTS["table"]["targets"][key].values()
        values = [v and sign * v for v in by_method(runs, id, [method]).get(method, ())]
        case = limit(values, bound, above=above)
        result, numbers = spelled("value", values, form), summary("value", values)
        statements.append(Statement(key, text, result, numbers, verdict(case), "target"))
    return statements


STUDY = Study("table", plan, metrics, conclude, {"iwae_samples": 500})
