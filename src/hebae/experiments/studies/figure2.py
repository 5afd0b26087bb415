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
    for data, name, group in (("mnist", "MNIST", of_mnist), ("celeba", "CelebA", of_faces)):
        if not group:
            notes.append(f"{name} is left out: its images were not there.")
            continue
        words = f"{name} test images, k = {group[0].planned.settings.latent_dim}"
        if data == "celeba":
            words = f"{faces.words(group[0].planned)}, test images"
            notes += faces.notes(budget)
        found = [*correlation_claims(group), *information_claims(group)]
        prefix = "" if data == "mnist" else f"{data}-"
        claims += [replace(c, key=prefix + c.key, says=f"{name}: {c.says}") for c in found]
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
