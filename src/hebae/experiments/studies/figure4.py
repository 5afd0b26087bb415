"""Figure 4: samples of MNIST, from N(0, I) as in the paper, and from what fits the codes."""

from __future__ import annotations

from collections.abc import Sequence

from hebae.experiments.evaluation.metrics.samples import SAMPLERS
from hebae.experiments.evaluation.table import Column, tabulate
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.claims import best
from hebae.experiments.reproduction.codes import records
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.study import (
    Claim,
    Drawing,
    Findings,
    FinishedRun,
    Study,
    Whose,
)
from hebae.report.images import sample_table
from hebae.report.methods import display_name

WEIGHTS = {"hebae": 1.0, "vae": 1.0, "wae": 10.0}
WAYS = ("normal", "mixture")
ACROSS, DOWN = 10, 5


def plan(budget: Budget) -> list[PlannedRun]:
    """MNIST, k = 10, at the paper's weights 1, 1 and 10."""
    return [
        budget.run("mnist", method, latent_dim=10, penalty_weight=weight)
        for method, weight in WEIGHTS.items()
    ]


def measures(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """Frechet distances of the samples."""
    return ("frechet",)


def conclude(budget: Budget, runs: Sequence[FinishedRun]) -> Findings:
    """Draw the samples; compare their distances."""
    done = [run for run in runs if not run.diverged]
    images = {}
    for run in done:
        subject = run.subject()
        images[run.method] = {SAMPLERS[way]: subject.shown(way, ACROSS * DOWN) for way in WAYS}
    columns = [
        Column(display_name(run.method), run.planned.settings.likelihood, [run.kept.by_section])
        for run in done
    ]
    drawing = Drawing(
        "figure4",
        sample_table(images, ACROSS, title="Samples of MNIST models, k = 10"),
        "Samples",
        "Means of p(x|z), not chosen; the same draws of N(0, I) for all methods. Left, the paper's "
        "way; right, z from a mixture of normals fitted to the training codes.",
    )
    return Findings(
        [_claim(runs, "normal", "paper"), _claim(runs, "mixture", "ours")],
        [tabulate(columns, "Frechet distances, MNIST, k = 10")],
        records(done),
        [drawing],
    )


def _claim(runs: Sequence[FinishedRun], way: str, whose: Whose) -> Claim:
    words = SAMPLERS[way]
    measured = next(
        (m.name for run in runs if (m := run.measurement("frechet", f", {words}"))), way
    )
    return best(
        f"samples-{way}",
        f"HEBAE's samples are the best, z from {words}",
        measured,
        {run.method: run.value("frechet", f", {words}") for run in runs},
        ".2f",
        lower=True,
        whose=whose,
    )


STUDY = Study(
    name="figure4",
    title="Figure 4: samples of MNIST, k = 10",
    paper="The paper shows samples of HEBAE, VAE and WAE at λ = 1, 1 and 10, and finds HEBAE's the "
    "best; it gives a distance (FID) for CelebA alone.",
    plan=plan,
    measures=measures,
    conclude=conclude,
    evaluation={"samplers": WAYS},
    deviations=("noise", "adam", "budgets", "bytes"),
)
