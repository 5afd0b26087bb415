"""Figure 4: samples of MNIST, with z from N(0, I) as in the paper, and from a mixture."""

from __future__ import annotations

from collections.abc import Sequence

from hebae.experiments.metrics.samples import SAMPLERS
from hebae.paper.budgets import Budget, PlannedRun
from hebae.paper.statements import compare_all
from hebae.paper.study import STUDIES, Drawing, Findings, Study, StudyRun, table_of
from hebae.report.images import sample_table
from hebae.report.methods import display_name

WEIGHTS = {"hebae": 1.0, "vae": 1.0, "wae": 10.0}
SHOWN_SAMPLERS = ("normal", "mixture")
ACROSS, DOWN = 10, 5


def plan(budget: Budget) -> list[PlannedRun]:
    """MNIST, k = 10, at the paper's weights 1, 1 and 10."""
    return [
        budget.run("mnist", method, latent_dim=10, penalty_weight=weight)
        for method, weight in WEIGHTS.items()
    ]


def conclude(budget: Budget, runs: Sequence[StudyRun]) -> Findings:
    """Draw the samples and compare their distances."""
    opened = {run.method: run.open() for run in runs if not run.diverged}
    images = {
        method: {SAMPLERS[name]: run.shown(name, ACROSS * DOWN) for name in SHOWN_SAMPLERS}
        for method, run in opened.items()
    }
    figure = sample_table(images, ACROSS, title="Samples of MNIST models, k = 10")
    columns = {display_name(run.method): [run] for run in runs}
    table = table_of(columns, "Frechet distances, MNIST, k = 10")
    drawing = Drawing("figure4", figure, "Samples", STUDIES["figure4"]["caption"])
    return Findings(compare_all("figure4", runs), [table], [drawing])


STUDY = Study("figure4", plan, ("frechet",), conclude, {"samplers": SHOWN_SAMPLERS})
