"""Figure 1a: the objective on MNIST against epochs and against lambda, and its honest twins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.grids import Numbers, against_epochs, against_weight, compare
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.study import Drawing, Findings, FinishedRun, Study

DIMENSIONS = (2, 5, 10, 20)
LAMBDAS = (0.001, 0.005623, 0.03162, 0.1778, 1.0, 5.623, 31.62, 177.8, 1000.0)
"""Nine, evenly spaced by their logarithms."""
OF_WAE = 10.0
"""The preset's weight of the MMD: it stands where lambda is 1, and is multiplied alike."""
WAE_GRID_AT = 10
"""The k at which the budget `small` bears the WAE's whole grid; elsewhere its own weight alone."""

TWO = ("hebae", "vae")
LIKELIHOOD, ANNEALED = "HEBAE's log p(x), by IWAE,", "HEBAE's log p(x), by AIS,"
NOTES = (
    "Verdicts go by the order of the medians over seeds; with one seed a difference may be chance.",
    "The objective holds λ times the penalty, so its range over λ is in part that of λ itself.",
)
SPARED = f"WAE-MMD: all λ at k = {WAE_GRID_AT} of the budget small; elsewhere the preset's alone."


def plan(budget: Budget) -> list[PlannedRun]:
    """HEBAE and VAE at every k and lambda; WAE-MMD as far as the budget goes."""
    smoke = budget.name == "smoke"
    dimensions, lambdas = ((2, 10), LAMBDAS[4::4]) if smoke else (DIMENSIONS, LAMBDAS)
    runs = []
    for seed, k, weight in product(budget.seeds, dimensions, lambdas):
        weights = dict.fromkeys(TWO, weight)
        if weight == 1 or budget.name == "full" or (k == WAE_GRID_AT and not smoke):
            weights["wae"] = float(f"{OF_WAE * weight:.4g}")
        for method, own in weights.items():
            runs.append(budget.run("mnist", method, latent_dim=k, seed=seed, penalty_weight=own))
    return runs


def measures(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """ELBO and IWAE of all; AIS at lambda = 1, where there is time for it."""
    own = OF_WAE if run.settings.method == "wae" else 1.0
    annealed = budget.name == "full" and run.settings.penalty_weight == own
    return ("elbo", "iwae", "ais") if annealed else ("elbo", "iwae")


def conclude(budget: Budget, runs: Sequence[FinishedRun]) -> Findings:
    """Draw the objective as the paper does, the bounds below it, and hold them to the claims."""
    numbers = Numbers(runs, weight_at_one={"wae": OF_WAE})
    epochs, last = numbers.objectives_by_epoch(weight=1.0), numbers.last_objectives()
    best, elbos = numbers.best_objectives(), numbers.values("elbo", "ELBO")
    likelihoods = numbers.values("iwae", "fitted width")
    rows = [
        against_epochs(epochs, TWO, "objective, λ = 1"),
        against_weight(best, TWO, "best objective"),
        against_weight(elbos, TWO, "held-out ELBO"),
        against_weight(likelihoods, (*TWO, "wae"), "log p(x), IWAE"),
    ]
    claims = [
        compare("objective", "HEBAE's objective", last),
        compare("robust", "HEBAE's best objective", best, spread=True),
        compare("elbo", "HEBAE's ELBO", elbos, whose="ours"),
        compare("likelihood", LIKELIHOOD, likelihoods, whose="ours"),
        compare("robust-likelihood", LIKELIHOOD, likelihoods, spread=True, whose="ours"),
    ]
    if budget.name == "full":
        claims.append(compare("ais", ANNEALED, numbers.values("ais", "AIS"), whose="ours"))
    drawing = Drawing(
        "figure1a",
        numbers.draw(rows, title="Objective, ELBO and likelihood of MNIST test images"),
        "Objective, ELBO and likelihood",
        "Rows 1 and 2 are the paper's Fig. 1a: the objective by epoch at λ = 1, and the best over "
        "epochs by λ. **Objectives are not comparable between methods, nor between λ**: only the "
        "VAE's at λ = 1 is an ELBO. Rows 3 and 4, of the same runs at their last epoch, can be "
        "compared: the ELBO, undefined for the WAE, and a bound on log p(x) by importance weights "
        "from N(mu(x), fitted width). The dashed line is λ = 1 of the first row. The WAE's weight "
        f"is {OF_WAE:g} λ, in units of the MMD. Nats per example; rows 2 to 4 logarithmic.",
    )
    notes = NOTES if budget.name == "full" else (*NOTES, SPARED)
    return Findings(claims, [], numbers.records(), [drawing], notes)


STUDY = Study(
    name="figure1a",
    title="Figure 1a: objective against epochs and against λ, MNIST",
    paper="The paper shows the objective, which it calls ELBO, of HEBAE and VAE over the epochs, "
    "and its best value over a range of λ, for k = 2, 5, 10, 20: HEBAE's is higher, and more "
    "robust to λ.",
    plan=plan,
    measures=measures,
    conclude=conclude,
    evaluation={"iwae_samples": 500},
    deviations=("signs", "half", "elbo", "noise", "adam", "budgets"),
)
