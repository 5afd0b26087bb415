"""Runs side by side: measurements in rows, runs, or methods over their seeds, in columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
import numpy.typing as npt

from hebae.experiments.evaluation.measurement import Measurement
from hebae.report.tables import Measured, Row, Table, Undefined, Value

__all__ = ["Column", "tabulate"]

ERRORS = 2
"""Standard errors by which the best must differ from every other."""


@dataclass(frozen=True)
class Column:
    """A run, or runs that differ in their seed alone.

    Parameters
    ----------
    label : str
    likelihood : str
        Of the models.
    runs : sequence of mappings of str to (list of Measurement)
        Of each run: the measurements by section.
    """

    label: str
    likelihood: str
    runs: Sequence[Mapping[str, Sequence[Measurement]]]

    def of(self, section: str, name: str) -> list[Measurement]:
        """Return the measurement of this name, of each run that has it."""
        found = [
            # Two metrics may measure the same: copying in pixels, beside distances in pixels.
            next((m for m in run.get(section, ()) if m.name == name), None)
            for run in self.runs
        ]
        return [m for m in found if m is not None]


def tabulate(columns: Sequence[Column], title: str, notes: Sequence[str] = ()) -> Table:
    """Make a table of the headline measurements; the best of a row is set off if it is sure.

    Parameters
    ----------
    columns : sequence of Column
    title : str
    notes : sequence of str

    Returns
    -------
    Table
        A value stands with its standard error; of several seeds, the median with least and
        greatest.
    """
    heads: dict[tuple[str, str], Measurement] = {}
    for column in columns:
        for run in column.runs:
            for section, measurements in run.items():
                for m in measurements:
                    if m.headline:
                        heads.setdefault((section, m.name), m)
    sections = list(dict.fromkeys(section for section, _ in heads))
    one_likelihood = len({column.likelihood for column in columns}) == 1
    rows = []
    for wanted in sections:
        for (section, name), head in heads.items():
            if section != wanted:
                continue
            found = [column.of(section, name) for column in columns]
            comparable = bool(head.better) and (one_likelihood or not head.by_likelihood)
            rows.append(
                Row(
                    name,
                    [_value(measurements) for measurements in found],
                    head.unit,
                    head.format,
                    head.better if comparable else "",
                    section,
                    _best(found, head.better) if comparable else (),
                )
            )
    said = [*notes]
    if len(columns) > 1:
        said.append(
            f"Bold: the best, where it differs from all others by {ERRORS} standard errors."
        )
    if not one_likelihood:
        said.append("The likelihoods differ: bounds and reconstructions are not comparable.")
    return Table(title, [column.label for column in columns], rows, said)


def _value(measurements: Sequence[Measurement]) -> Value:
    known = [m for m in measurements if m.value is not None]
    if not measurements:
        return None
    if not known:
        return Undefined(measurements[0].undefined)
    if len(measurements) > 1:
        return [m.value for m in measurements]
    (one,) = known
    assert one.value is not None
    if one.standard_error is None or one.standard_error == 0:
        return one.value
    return Measured(one.value, one.standard_error)


def _best(found: Sequence[Sequence[Measurement]], better: str) -> tuple[int, ...]:
    """Place of the best column, if it is the best beyond doubt."""
    estimates = {i: e for i, measurements in enumerate(found) if (e := _estimate(measurements))}
    if len(estimates) < 2:
        return ()
    sign = 1 if better == "higher" else -1
    winner = max(estimates, key=lambda i: sign * estimates[i].value)
    best = estimates[winner]
    for i, other in estimates.items():
        # An error that is not known is NaN, and nothing differs by more than that.
        if i != winner and not abs(best.value - other.value) > ERRORS * _error(best, other):
            return ()
    return (winner,)


@dataclass(frozen=True)
class _Estimate:
    """A column's value: the mean over its seeds."""

    value: float
    of_examples: float
    """Standard error by the examples, the same for all seeds; NaN if it is not known."""
    of_seeds: float
    """Standard error by the seeds; 0 of one."""
    per_example: npt.NDArray[np.float64] | None
    """Of each example, where that is kept: the same examples for all runs."""


def _estimate(measurements: Sequence[Measurement]) -> _Estimate | None:
    known = [m for m in measurements if m.value is not None]
    values = [m.value for m in known if m.value is not None]
    if not values:
        return None
    errors = [math.nan if m.standard_error is None else m.standard_error for m in known]
    of_examples = math.sqrt(fmean(error**2 for error in errors))
    kept = [m.arrays["per_example"] for m in known if "per_example" in m.arrays]
    aligned = len(kept) == len(known) and len({len(numbers) for numbers in kept}) == 1
    several = len(values) > 1
    return _Estimate(
        fmean(values),
        # Where the examples' part is not known, the seeds' must do.
        0 if several and math.isnan(of_examples) else of_examples,
        stdev(values) / math.sqrt(len(values)) if several else 0,
        np.mean(kept, axis=0) if aligned else None,
    )


def _error(a: _Estimate, b: _Estimate) -> float:
    """Take the standard error of the difference: example by example, where that is known."""
    x, y = a.per_example, b.per_example
    if x is not None and y is not None and len(x) == len(y) > 1:
        of_examples = float(np.std(x - y, ddof=1)) / math.sqrt(len(x))
    else:
        of_examples = math.hypot(a.of_examples, b.of_examples)
    return math.hypot(of_examples, a.of_seeds, b.of_seeds)
