"""The table: every metric, for all methods, at the paper's settings, over seeds."""

from __future__ import annotations

from collections.abc import Sequence

from hebae.experiments.evaluation.metrics.samples import SAMPLERS
from hebae.experiments.evaluation.table import Column, tabulate
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.claims import better, within
from hebae.experiments.reproduction.codes import records
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.study import Findings, FinishedRun, Study
from hebae.report.methods import display_name

WEIGHTS = {"hebae": 1.0, "vae": 1.0, "wae": 10.0, "ae": 1.0}
CORRELATION = "mean |correlation| of mean of q(z|x)"


def plan(budget: Budget) -> list[PlannedRun]:
    """MNIST, k = 20, four methods at the paper's weights, a run a seed."""
    return [
        budget.run("mnist", method, latent_dim=20, penalty_weight=weight, seed=seed)
        for seed in budget.table_seeds
        for method, weight in WEIGHTS.items()
    ]


def measures(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """All that there is; at `smoke` what is fast."""
    return ("fast",) if budget.name == "smoke" else ("all",)


def conclude(budget: Budget, runs: Sequence[FinishedRun]) -> Findings:
    """Tabulate; hold the medians to what was aimed at."""
    columns = []
    for method in WEIGHTS:
        of_method = [run for run in runs if run.method == method and not run.diverged]
        if of_method:
            likelihood = of_method[0].planned.settings.likelihood
            sections = [run.kept.by_section for run in of_method]
            columns.append(Column(display_name(method), likelihood, sections))
    seeds = ", ".join(map(str, budget.table_seeds))
    epochs = runs[0].planned.settings.epochs
    notes = ("Objectives are each method's own: compare them with nothing.",)
    title = f"MNIST, k = 20, {epochs} epochs, seeds {seeds}: test examples"

    def of(method: str, metric: str, words: str, sign: int = 1) -> list[float | None]:
        found = [run.value(metric, words) for run in runs if run.method == method]
        return [None if value is None else sign * value for value in found]

    part = "ELBO's reconstruction"
    claims = [
        within("vae-elbo", "VAE: negative ELBO", of("vae", "elbo", "ELBO", -1), 104, ".1f"),
        within("hebae-reconstruction", "HEBAE: -log p(x|z)", of("hebae", "elbo", part), 66, ".1f"),
        *(
            within(
                f"{method}-correlation",
                f"{display_name(method)}: mean abs. off-diagonal correlation of the means",
                of(method, "moments", CORRELATION),
                limit,
                ".4f",
                above=method == "vae",
            )
            for method, limit in (("hebae", 0.02), ("vae", 0.1))
        ),
        *(
            better(
                f"samples-{way}",
                f"HEBAE's samples are better than the VAE's (Frechet distance), z from {words}",
                of("hebae", "frechet", f", {words}"),
                of("vae", "frechet", f", {words}"),
                ".2f",
                whose="paper" if way == "normal" else "ours",
            )
            for way, words in SAMPLERS.items()
            if way in ("normal", "mixture")
        ),
    ]
    said = f"What we aimed at was set for 8 epochs; these runs have {epochs}. Medians over seeds."
    return Findings(claims, [tabulate(columns, title, notes)], records(runs), [], [said])


STUDY = Study(
    name="table",
    title="All metrics, MNIST, k = 20",
    paper="The paper has no table of this kind: it judges by its objective, by correlation, MIC "
    "and TIC, and by FID on CelebA. Here every model is judged by everything.",
    plan=plan,
    measures=measures,
    conclude=conclude,
    evaluation={"iwae_samples": 500},
    deviations=("signs", "half", "scale", "elbo", "noise", "adam", "budgets", "information"),
)
