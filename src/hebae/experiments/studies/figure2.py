"""Figure 2: covariance and correlation of held-out codes, and what they tell of the example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hebae.experiments.reproduction import faces
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.codes import (
    code_table,
    correlation_claims,
    draw_codes,
    draw_information,
    information_claims,
    records,
)
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.study import Claim, Drawing, Findings, FinishedRun, Study
from hebae.report.tables import Table

WEIGHTS = {"hebae": 1.0, "vae": 1.0, "wae": 10.0}


def plan(budget: Budget) -> list[PlannedRun]:
    """Three methods at the paper's weights: MNIST, k = 20 (4 where seconds count), and CelebA."""
    k = 4 if budget.name == "smoke" else 20
    of_mnist = [
        budget.run("mnist", method, latent_dim=k, penalty_weight=weight)
        for method, weight in WEIGHTS.items()
    ]
    return [*of_mnist, *(faces.face_run(budget, method) for method in faces.METHODS)]


def measures(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """Moments of the codes; MIC, TIC and mutual information."""
    return ("moments", "information", "mic")


def conclude(budget: Budget, runs: Sequence[FinishedRun]) -> Findings:
    """Draw the matrices and the coefficients of each data set, and hold them to the claims."""
    claims: list[Claim] = []
    tables: list[Table] = []
    drawings: list[Drawing] = []
    notes = ["One seed; the spread over seeds, of MNIST, is in the study `table`."]
    of_mnist = [run for run in runs if run.planned.data.startswith("mnist")]
    of_faces = [run for run in runs if run not in of_mnist]
    for data, group in (("mnist", of_mnist), ("celeba", of_faces)):
        if not group:
            notes.append(f"{data} is left out: its images were not there.")
            continue
        planned = group[0].planned
        if data == "mnist":
            words, prefix = f"MNIST test images, k = {planned.settings.latent_dim}", ""
        else:
            words, prefix = f"{faces.words(planned)}, test images", f"{data}-"
            notes += faces.notes(budget)
        name = words.split(maxsplit=1)[0].rstrip(",")
        for claim in (*correlation_claims(group), *information_claims(group)):
            claims.append(replace(claim, key=prefix + claim.key, says=f"{name}: {claim.says}"))
        tables.append(code_table(group, words))
        drawings += [*draw_codes(group, data, words), draw_information(group, data, words)]
    return Findings(claims, tables, records(runs), drawings, notes)


STUDY = Study(
    name="figure2",
    title="Figure 2: the latent code",
    paper="The paper shows that HEBAE's codes come closer to the mean-field assumption, of "
    "dimensions that do not correlate, than those of VAE and WAE, and by MIC and TIC that they "
    "tell more of the example.",
    plan=plan,
    measures=measures,
    conclude=conclude,
    optional=("celeba",),
    deviations=("signs", "half", "scale", "noise", "batchnorm", "information"),
)
