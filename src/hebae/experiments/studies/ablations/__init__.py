"""Ablations: what becomes of HEBAE where the paper, or its released code, decides otherwise.

To add one, add it to ``decisions``.
"""

from __future__ import annotations

from collections.abc import Sequence

from hebae.experiments.reproduction import faces
from hebae.experiments.reproduction.ablation import judge, tabulate
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.codes import records
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.study import Claim, Findings, FinishedRun, Study
from hebae.experiments.studies.ablations.decisions import decisions
from hebae.report.tables import Table

OF_MNIST = ("objective", "reconstruction", "moments", "iwae", "elbo", "frechet")
OF_FACES = ("reconstruction", "frechet", "moments")


def plan(budget: Budget) -> list[PlannedRun]:
    """All variants; what they have in common, once."""
    groups = [group for a in decisions(budget) for group in a.variants.values()]
    return [run for group in groups for run in group]


def measures(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """Penalties, moments, bounds and samples; of faces, no bounds; what is fast at `smoke`."""
    if run.settings.network != "mlp":
        return OF_FACES
    return OF_MNIST[:4] if budget.name == "smoke" else OF_MNIST


def conclude(budget: Budget, runs: Sequence[FinishedRun]) -> Findings:
    """Make a table of each, and hold it to what is claimed."""
    by_name = {run.planned.name: run for run in runs}
    claims: list[Claim] = []
    tables: list[Table] = []
    notes = ["Verdicts go by medians over seeds; with one, a small difference may be chance."]
    for ablation in decisions(budget):
        variants = ablation.finished(by_name)
        if not variants:
            notes.append(f"{ablation.title}: left out, its data were not there.")
            continue
        claims += judge(ablation, variants)
        tables.append(tabulate(ablation, variants))
    return Findings(claims, tables, records(runs), [], [*notes, *faces.notes(budget)])


STUDY = Study(
    name="ablations",
    title="Ablations",
    paper="The paper and its released code differ in these decisions, and neither tells what they "
    "are worth.",
    plan=plan,
    measures=measures,
    conclude=conclude,
    evaluation={"iwae_samples": 500, "samplers": ("normal", "mixture")},
    optional=("celeba",),
    deviations=("scale", "noise", "adam", "budgets", "batchnorm"),
)
