"""Figure 2: covariance and correlation of held-out codes, and the information they carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hebae.evaluation import latent
from hebae.paper import faces
from hebae.paper.budgets import THREE, Budget, PlannedRun, data_of
from hebae.paper.statements import Statement, compare_all, describe_methods, values_of
from hebae.paper.study import (
    STUDIES,
    Drawing,
    Findings,
    Study,
    StudyRun,
    method_columns,
    table_of,
)
from hebae.report.codes import code_heatmaps
from hebae.report.panels import BarPanel, bars_beside_null

CORRELATION = "moments.mean_abs_correlation"
NULL = "_if_independent"
"""Suffix of the id of a coefficient's value for permuted indices."""


def plan(budget: Budget) -> list[PlannedRun]:
    """Three methods at the paper's weights, on MNIST (k = 20; 4 for smoke) and on CelebA."""
    k = 4 if budget.is_smoke else 20
    mnist = [budget.mnist(method, k) for method in THREE]
    return [*mnist, *(faces.face_run(budget, method) for method in THREE)]


def conclude(budget: Budget, runs: Sequence[StudyRun]) -> Findings:
    """Draw the matrices and the coefficients of each data set."""
    statements, tables, drawings = [], [], []
    notes = [STUDIES["figure2"]["notes"]["seeds"]]
    mnist = [run for run in runs if data_of(run.planned).startswith("mnist")]
    others = [run for run in runs if run not in mnist]
    notes += faces.notes(budget) if others else [STUDIES["figure2"]["notes"]["missing"]]
    for group in filter(None, (mnist, others)):
        name, data = "mnist", "MNIST"
        if group is others:
            name, data = data_of(group[0].planned), faces.data_name(group[0].planned)
        label = f"{data} test images, k = {group[0].settings.latent_dim}"
        tables.append(table_of(method_columns(group), label))
        drawings += [*draw_codes(group, name, label), draw_information(group, name, label)]
        prefix = "" if group is mnist else f"{name}-"
        statements += [replace(one, key=prefix + one.key) for one in state(group, data)]
    return Findings(statements, tables, drawings, notes)


def state(runs: Sequence[StudyRun], data: str) -> list[Statement]:
    """Compare correlation and the coefficients; add the coefficients' values by chance."""
    statements = []
    for one in compare_all("figure2", runs, data=data):
        if one.key in ("mic", "tic"):
            by_chance = values_of(runs, f"mic.{one.key}{NULL}")
            shown, numbers = describe_methods(by_chance, ".3f", "_null")
            result = f"{one.result}; for permuted indices: {shown}"
            one = replace(one, result=result, numbers={**one.numbers, **numbers})
        statements.append(one)
    return statements


def draw_codes(runs: Sequence[StudyRun], name: str, label: str) -> list[Drawing]:
    """Draw covariance and correlation of the means (Fig. 2a, b of the paper), and of z."""
    drawings = []
    for file, of in (("mean", "the mean of q(z|x)"), ("z", "z")):
        matrices = {}
        for run in runs:
            if (measurement := run.measurement(f"{CORRELATION}.{file}")) is not None:
                covariance = np.asarray(measurement.arrays["covariance"])
                matrices[run.method] = covariance, latent.correlation(covariance)
        if matrices:
            title = f"Covariance and correlation of {of}, {label}"
            figure = code_heatmaps(matrices, title=title)
            caption = STUDIES["figure2"]["captions"][file]
            drawings.append(Drawing(f"figure2-{name}-{file}", figure, title, caption))
    return drawings


def draw_information(runs: Sequence[StudyRun], name: str, label: str) -> Drawing:
    """Draw MIC and TIC with their null (Fig. 2c, d), and I(i; z) with its upper bound."""

    def values(id: str) -> dict[str, float]:
        return {run.method: value for run in runs if (value := run.value(id)) is not None}

    panels = {}
    for key in ("mic", "tic"):
        bars, null = values(f"mic.{key}"), values(f"mic.{key}{NULL}")
        panels[key] = BarPanel(bars, null, title=f"{key.upper()}_e", note="mean over dimensions")
    panels["I"] = BarPanel(
        values("information.mutual"),
        {},
        title="I(i; z)",
        note="index and code",
        y_label="nats",
        ceiling=max(values("information.ceiling").values(), default=None),
    )
    title = f"Information of the code about the example, {label}"
    figure = bars_beside_null(panels, title=title)
    caption = STUDIES["figure2"]["captions"]["information"]
    return Drawing(f"figure2-{name}-information", figure, title, caption)


METRICS = ("moments", "information", "mic")
STUDY = Study("figure2", plan, METRICS, conclude, optional=("celeba",))
