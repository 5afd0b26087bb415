"""What Figure 2 says of latent codes, for any data: matrices, coefficients, claims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hebae.evaluation import latent
from hebae.experiments.evaluation.metrics.code import DRAW, MEAN
from hebae.experiments.evaluation.table import Column, tabulate
from hebae.experiments.reproduction.study import Claim, Drawing, FinishedRun, verdict
from hebae.report.bars_beside_null import BarPanel, bars_beside_null
from hebae.report.heatmaps import code_heatmaps
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
            title = f"Covariance and correlation of {name}"
            figure = code_heatmaps(matrices, title=f"{title}, {words}")
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
    return Drawing(
        f"figure2-{data}-information",
        bars_beside_null(panels, title=f"What the code tells of the example, {words}"),
        "What the code tells of the example",
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
    claims = []
    for key, name, whose, says in (
        ("correlation", MEAN, "paper", "HEBAE's codes correlate the least (Fig. 2a, b)"),
        (
            "correlation-of-z",
            DRAW,
            "ours",
            "HEBAE's z, codes with their noise as the decoder sees them, correlates the least",
        ),
    ):
        words = f"mean |correlation| of {name}"
        numbers = _numbers(runs, lambda run, words=words: run.value("moments", words))
        claims.append(
            Claim(
                key,
                says,
                f"mean abs. off-diagonal correlation of {name}: {_list(numbers, '.3f')}",
                numbers,
                _first_is(min, numbers),
                whose,  # type: ignore[arg-type]
            )
        )
    return claims


def information_claims(runs: Sequence[FinishedRun]) -> list[Claim]:
    """More information: MIC and TIC as in the paper."""
    claims = []
    for name, coefficient in COEFFICIENTS.items():
        words = f"{coefficient}(i, z)"
        numbers = _numbers(runs, lambda run, words=words: run.value("mic", words))
        nulls = _numbers(
            runs, lambda run, c=coefficient: run.value("mic", f"{c} of permuted"), "_null"
        )
        found = f"{coefficient}: {_list(numbers, '.3f')}; by chance {_list(nulls, '.3f')}"
        says = f"HEBAE's codes tell the most of the example, by {name} (Fig. 2c, d)"
        claims.append(Claim(name.lower(), says, found, numbers | nulls, _first_is(max, numbers)))
    return claims


def _by_method(
    runs: Sequence[FinishedRun], pick: Callable[[FinishedRun], float | None]
) -> dict[str, float]:
    found = {run.method: pick(run) for run in runs}
    return {method: value for method, value in found.items() if value is not None}


def _numbers(
    runs: Sequence[FinishedRun], pick: Callable[[FinishedRun], float | None], suffix: str = ""
) -> dict[str, float | None]:
    return {f"{run.method}{suffix}": pick(run) for run in runs}


def _list(numbers: dict[str, float | None], form: str) -> str:
    return ", ".join(
        f"{display_name(name.removesuffix('_null'))} {{{name}:{form}}}" for name in numbers
    )


def _first_is(best: Callable[..., float], numbers: dict[str, float | None]) -> Any:
    """Judge whether HEBAE has the best of the numbers."""
    known = {method: value for method, value in numbers.items() if value is not None}
    if "hebae" not in known or len(known) < 2:
        return verdict([None])
    return verdict([best(known.values()) == known["hebae"]])
