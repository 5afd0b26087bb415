"""Rate: HEBAE with a rate term, over lambda and gamma; whether all claims can hold at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.codes import records
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.rates import (
    CONDITIONS,
    Point,
    at_once,
    draw_maps,
    point_table,
    points,
    somewhere,
)
from hebae.experiments.reproduction.study import Findings, FinishedRun, Study

LAMBDAS = (1.0, 3.0, 10.0)
GAMMAS = (0.0, 0.01, 0.1, 0.3, 1.0)
"""0 is the paper; 1, where lambda is 1 too, an ELBO."""
BESIDE = {"vae": 1.0, "wae": 10.0}
"""Methods that the grid is held against, at the paper's weights."""


def plan(budget: Budget) -> list[PlannedRun]:
    """HEBAE at every lambda and gamma; VAE and WAE-MMD beside it. MNIST, k = 20.

    At lambda = 1, the paper's, and of what stands beside it, with the seeds of a table.
    """
    smoke = budget.name == "smoke"
    k, lambdas, gammas = (4, LAMBDAS[:2], GAMMAS[::3]) if smoke else (20, LAMBDAS, GAMMAS)
    runs = []
    for weight, gamma in product(lambdas, gammas):
        # Where gamma is 0 it is not named, so that other studies share the run.
        rate = {"rate_weight": gamma} if gamma else {}
        for seed in budget.table_seeds if weight == 1 else budget.seeds:
            runs.append(_run(budget, "hebae", weight, latent_dim=k, seed=seed, **rate))
    for seed, (method, weight) in product(budget.table_seeds, BESIDE.items()):
        runs.append(_run(budget, method, weight, latent_dim=k, seed=seed))
    return runs


def _run(budget: Budget, method: str, weight: float, **settings: Any) -> PlannedRun:
    return budget.run("mnist", method, penalty_weight=weight, **settings)


def measures(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """Reconstruction, bounds, samples, moments and information."""
    return ("reconstruction", "elbo", "iwae", "frechet", "moments", "information")


def conclude(budget: Budget, runs: Sequence[FinishedRun]) -> Findings:
    """Map each quantity over the grid, and ask of each point what the paper claims."""
    grid = points(runs)
    beside = {method: Point([run for run in runs if run.method == method]) for method in BESIDE}
    words = f"HEBAE with a rate term, MNIST, k = {runs[0].planned.settings.latent_dim}"
    notes = [
        "γ = 0 is the paper's objective, whose penalty is of N(β, Σ), the normal of the means; "
        "with γ > 0 it is of N(β, C), the normal of z (docs/mathematics.md, section 4): the first "
        "column is no limit of the others.",
        "The conditions compare with VAE and WAE-MMD at the paper's weights, trained for as long, "
        "by the medians over seeds. Where a cell of the table has no range, there is one seed, and "
        "a small difference may be chance.",
    ]
    return Findings(
        [*(somewhere(name, grid, beside) for name in CONDITIONS), at_once(grid, beside)],
        [point_table(grid, beside, words)],
        [r | _weights(run) for run in runs for r in records([run])],
        [draw_maps(grid, words)],
        notes,
    )


def _weights(run: FinishedRun) -> dict[str, float]:
    settings = run.planned.settings
    return {"penalty_weight": settings.penalty_weight, "rate_weight": settings.rate_weight}


STUDY = Study(
    name="rate",
    title="The rate term: between HEBAE and an ELBO",
    paper="Nothing in the paper's objective holds σ up, and the encoder ends deterministic. With a "
    "weight γ on the rate, a bound of I(i; z), HEBAE keeps its noise; at λ = γ = 1 it optimises an "
    "ELBO. Is there a point at which all that the paper claims is true: the best samples from "
    "N(0, I), codes that do not correlate, a good reconstruction and a high likelihood?",
    plan=plan,
    measures=measures,
    conclude=conclude,
    evaluation={"iwae_samples": 500},
    deviations=("half", "elbo", "noise"),
)
