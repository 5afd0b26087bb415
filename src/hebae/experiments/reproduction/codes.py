"""What Figure 2 says of latent codes, for any data: matrices, coefficients, claims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hebae.evaluation import latent
from hebae.experiments.evaluation.metrics.code import DRAW, MEAN
from hebae.experiments.evaluation.table import Column, tabulate
from hebae.experiments.reproduction.claims import best, listed
from hebae.experiments.reproduction.study import Claim, Drawing, FinishedRun, Whose
from hebae.report.bars import BarPanel, bars_beside_null
from hebae.report.codes import code_heatmaps
from hebae.report.methods import display_name
from hebae.report.tables import Table

__all__ = [
    "code_table",
    "correlation_claims",
    "draw_codes",
    "draw_information",
    "information_claims",
    "records",
]

COEFFICIENTS = {"MIC": "MIC_e", "TIC": "TIC_e"}
_CORRELATIONS: tuple[tuple[str, str, Whose, str], ...] = (
    ("correlation", MEAN, "paper", "HEBAE's codes correlate the least (Fig. 2a, b)"),
    (
        "correlation-of-z",
        DRAW,
        "ours",
        "HEBAE's z, codes with their noise as the decoder sees them, correlates the least",
    ),
)


def draw_codes(runs: Sequence[FinishedRun], data: str, words: str) -> list[Drawing]:
    """Draw covariance and correlation of mu (Fig. 2a, b of the paper), and those of z."""
    drawings = []
    for name, file, meaning in (
        (MEAN, "mean", "what the paper shows"),
        (DRAW, "z", "by the law of total variance (Eq. 9): what the decoder sees"),
    ):
        matrices = {}
        for run in runs:
            found = run.measurement("moments", f"mean |correlation| of {name}")
            if found is not None:
                covariance = np.asarray(found.arrays["covariance"])
                matrices[run.method] = covariance, latent.correlation(covariance)
        if matrices:
            title = f"Covariance and correlation of {name}, {words}"
            figure = code_heatmaps(matrices, title=title)
            caption = f"Of {name}, {meaning}. Each row has one scale of colours."
            drawings.append(Drawing(f"figure2-{data}-{file}", figure, title, caption))
    return drawings


def draw_information(runs: Sequence[FinishedRun], data: str, words: str) -> Drawing:
    """Draw MIC and TIC beside their null (Fig. 2c, d), and I(i; z) below its ceiling."""
    panels = {
        name: BarPanel(
            _by_method(runs, lambda run, c=coefficient: run.value("mic", f"{c}(i, z)")),
            _by_method(runs, lambda run, c=coefficient: run.value("mic", f"{c} of permuted")),
            title=coefficient,
            note="mean over dimensions",
        )
        for name, coefficient in COEFFICIENTS.items()
    }
    ceilings = _by_method(runs, lambda run: run.value("information", "log N"))
    panels["I"] = BarPanel(
        _by_method(runs, lambda run: run.value("information", "I(i; z)")),
        {},
        title="I(i; z)",
        note="index and code",
        y_label="nats",
        ceiling=max(ceilings.values(), default=None),
    )
    title = f"What the code tells of the example, {words}"
    return Drawing(
        f"figure2-{data}-information",
        bars_beside_null(panels, title=title),
        title,
        "MIC_e and TIC_e between the index of an example, in random order, and each dimension of "
        "z; a line in the bar is the same for permuted indices, where there is nothing to find. "
        "I(i; z) is at most log N, which a code reaches that names its example: a deterministic "
        "encoder does, whatever it learned.",
    )


def code_table(runs: Sequence[FinishedRun], title: str) -> Table:
    """Tabulate every measurement of the codes."""
    columns = [
        Column(display_name(run.method), run.planned.settings.likelihood, [run.kept.by_section])
        for run in runs
        if not run.diverged
    ]
    return tabulate(columns, title)


def records(runs: Sequence[FinishedRun]) -> list[dict[str, Any]]:
    """Return every number of the codes, a record each, for the CSV."""
    return [
        {
            "data": run.planned.data,
            "method": run.method,
            "k": run.planned.settings.latent_dim,
            "seed": run.planned.settings.seed,
            "quantity": m.name,
            "value": m.value,
            "standard_error": m.standard_error,
            "undefined": m.undefined,
        }
        for run in runs
        for measurements in run.kept.by_metric.values()
        for m in measurements
    ]


def correlation_claims(runs: Sequence[FinishedRun]) -> list[Claim]:
    """Mean-field: dimensions that do not correlate, by mu as in the paper, and by z."""
    return [
        best(
            key,
            says,
            f"mean abs. off-diagonal correlation of {name}",
            {run.method: run.value("moments", f"mean |correlation| of {name}") for run in runs},
            ".3f",
            lower=True,
            whose=whose,
        )
        for key, name, whose, says in _CORRELATIONS
    ]


def information_claims(runs: Sequence[FinishedRun]) -> list[Claim]:
    """More information: MIC and TIC as in the paper."""
    claims = []
    for name, coefficient in COEFFICIENTS.items():
        numbers = {run.method: run.value("mic", f"{coefficient}(i, z)") for run in runs}
        nulls = {
            f"{run.method}_null": run.value("mic", f"{coefficient} of permuted") for run in runs
        }
        says = f"HEBAE's codes tell the most of the example, by {name} (Fig. 2c, d)"
        claim = best(name.lower(), says, coefficient, numbers, ".3f")
        by_chance = f"{claim.found}; by chance {listed(nulls, '.3f', '_null')}"
        claims.append(replace(claim, found=by_chance, numbers=numbers | nulls))
    return claims


def _by_method(
    runs: Sequence[FinishedRun], pick: Callable[[FinishedRun], float | None]
) -> dict[str, float]:
    found = {run.method: pick(run) for run in runs}
    return {method: value for method, value in found.items() if value is not None}
