"""Figure 4: samples of MNIST, with z from N(0, I) as in the paper, and from a mixture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hebae.experiments.metrics.samples import SAMPLERS
from hebae.experiments.table import tabulate
from hebae.paper.budgets import THREE, Budget, Plan
from hebae.paper.statements import compare_all
from hebae.paper.study import STUDIES, Drawing, Findings, Runs, Study, method_columns
from hebae.report.images import sample_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hebae.experiments.trained_run import TrainedRun

SHOWN_SAMPLERS = ("normal", "mixture")
ACROSS, DOWN = 10, 5


def plan(budget: Budget) -> Plan:
    """MNIST, k = 10, at the paper's weights 1, 1 and 10."""
    return [budget.mnist(method, 10) for method in THREE]


def draw_samples(models: Mapping[str, TrainedRun], across: int, down: int, title: str) -> Figure:
    """Draw the first decoded draws of each sampler, by method."""
    images = {
        method: {SAMPLERS[name]: run.shown(name, across * down) for name in SHOWN_SAMPLERS}
        for method, run in models.items()
    }
    return sample_table(images, across, title=title)


def conclude(budget: Budget, runs: Runs) -> Findings:
    """Draw the samples and compare their distances."""
    opened = {run.method: run.open() for run in runs if not run.diverged}
    figure = draw_samples(opened, ACROSS, DOWN, "Samples of MNIST models, k = 10")
    table = tabulate(method_columns(runs), "Frechet distances, MNIST, k = 10")
    drawing = Drawing("figure4", figure, "Samples", STUDIES["figure4"]["caption"])
    return Findings(compare_all("figure4", runs), [table], [drawing])


STUDY = Study("figure4", plan, ("frechet",), conclude, {"samplers": SHOWN_SAMPLERS})
