"""Figure 2: covariance and correlation of held-out codes, and the information they carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hebae.evaluation import latent
from hebae.experiments.table import tabulate
from hebae.paper import faces
from hebae.paper.budgets import THREE, Budget, Plan, data_of
from hebae.paper.statements import Statement, compare_all, describe_methods, values_of
from hebae.paper.study import STUDIES, Drawing, Findings, Runs, Study, method_columns
from hebae.report.codes import code_heatmaps
from hebae.report.methods import looks
from hebae.report.style import INK, QUIET, describe, literal, new_figure, styled

CORRELATION = "moments.mean_abs_correlation"
NULL = "_if_independent"
"""Suffix of the id of a coefficient's value for permuted indices."""
CEILING = "information.ceiling"
COEFFICIENTS = (
    ("mic.mic", "MIC_e", "mean over dimensions", ""),
    ("mic.tic", "TIC_e", "mean over dimensions", ""),
    ("information.mutual", "I(i; z)", "index and code", "nats"),
)
"""Id, title, note and unit. I(i; z) is at most `CEILING`."""
HALF = 0.32  # of a bar's width


def plan(budget: Budget) -> Plan:
    """Three methods at the paper's weights, on MNIST (k = 20; 4 for smoke) and on CelebA."""
    k = 4 if budget.is_smoke else 20
    mnist = [budget.mnist(method, k) for method in THREE]
    return [*mnist, *(faces.face_run(budget, method) for method in THREE)]


def conclude(budget: Budget, runs: Runs) -> Findings:
    """Draw the matrices and the coefficients of each data set."""
    statements, tables, drawings = [], [], []
    notes = [STUDIES["figure2"]["notes"]["seeds"]]
    mnist = [run for run in runs if data_of(run).startswith("mnist")]
    others = [run for run in runs if run not in mnist]
    notes += faces.notes(budget) if others else [STUDIES["figure2"]["notes"]["missing"]]
    for group in filter(None, (mnist, others)):
        name, data = "mnist", "MNIST"
        if group is others:
            name, data = data_of(group[0]), faces.data_name(group[0])
        label = f"{data} test images, k = {group[0].settings.latent_dim}"
        tables.append(tabulate(method_columns(group), label))
        drawings += [*draw_codes(group, name, label), draw_information(group, name, label)]
        prefix = "" if group is mnist else f"{name}-"
        statements += [replace(one, key=prefix + one.key) for one in state(group, data)]
    return Findings(statements, tables, drawings, notes)


def state(runs: Runs, data: str) -> list[Statement]:
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


def draw_codes(runs: Runs, name: str, label: str) -> list[Drawing]:
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


def draw_information(runs: Runs, name: str, label: str) -> Drawing:
    """Draw MIC and TIC with their null (Fig. 2c, d), and I(i; z) with its upper bound."""
    ids = [CEILING, *(id + end for id, *_ in COEFFICIENTS for end in ("", NULL))]
    found = {id: {run.method: run.value(id) for run in runs} for id in ids}
    values = {id: {m: v for m, v in of.items() if v is not None} for id, of in found.items()}
    title = f"Information of the code about the example, {label}"
    caption = STUDIES["figure2"]["captions"]["information"]
    return Drawing(f"figure2-{name}-information", draw_bars(values, title=title), title, caption)


@styled()
def draw_bars(values: Mapping[str, Mapping[str, float]], *, title: str = "") -> Figure:
    """Draw each of the `COEFFICIENTS` as bars by method.

    `values` are by id of the measurement and by method. Lines show the values that chance alone
    gives, left out where that is 0 by definition, and the largest possible value.
    """
    drawn = values if all(values.get(id) for id, *_ in COEFFICIENTS) else ()
    figure = new_figure(2.5 * len(COEFFICIENTS) + 0.4, 2.9, drawn, title, what="value")
    handles: dict[str, Any] = {}
    for axes, (id, heading, note, unit) in zip(figure.subplots(1, 3), COEFFICIENTS, strict=True):
        look, nulls = looks(values[id]), values.get(id + NULL, {})
        for place, (label, value) in enumerate(values[id].items()):
            axes.bar(place, value, 2 * HALF, color=look[label].colour)
            at = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"{value:.3g}", (place, value), fontsize=7.5, **at)
            if label in nulls:
                ends = nulls[label], place - HALF, place + HALF
                axes.hlines(*ends, color="white", linewidth=2.6)
                handles["permuted indices"] = axes.hlines(*ends, color=INK, linewidth=1.2)
        ceiling = max(values.get(CEILING, {}).values(), default=0) if unit else 0
        if ceiling:
            style: dict[str, Any] = {"color": QUIET, "linewidth": 0.8, "linestyle": (0, (4, 2))}
            handles["maximum"] = axes.axhline(ceiling, **style)
        axes.set_xticks(range(len(look)), [literal(one.name) for one in look.values()])
        axes.set_ylim(0, 1.15 * max(*values[id].values(), ceiling, 1e-12))
        axes.set_ylabel(unit)
        axes.grid(visible=False, axis="x")
        describe(axes, heading, note)
    if handles:
        below: dict[str, Any] = {"loc": "outside lower left", "ncols": len(handles)}
        figure.legend(handles.values(), handles.keys(), **below)
    return figure


METRICS = ("moments", "information", "mic")
STUDY = Study("figure2", plan, METRICS, conclude, optional=("celeba",))
