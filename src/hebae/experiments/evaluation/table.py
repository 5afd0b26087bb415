"""Runs side by side: measurements in rows, runs, or methods over their seeds, in columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

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
    winner = max(estimates, key=lambda i: sign * estimates[i][0])
    value, error = estimates[winner]
    for i, (other, its_error) in estimates.items():
        if i != winner and not abs(value - other) > ERRORS * math.hypot(error, its_error):
            return ()  # also where an error is not known, which is NaN
    return (winner,)


def _estimate(measurements: Sequence[Measurement]) -> tuple[float, float] | None:
    """Mean over seeds and its standard error; examples are the same for all seeds."""
    known = [m for m in measurements if m.value is not None]
    values = [m.value for m in known if m.value is not None]
    if not values:
        return None
    errors = [math.nan if m.standard_error is None else m.standard_error for m in known]
    of_examples = math.sqrt(fmean(error**2 for error in errors))
    if len(values) == 1:
        return values[0], of_examples
    of_seeds = stdev(values) / math.sqrt(len(values))
    # Where the examples' part is not known, the seeds' must do.
    return fmean(values), math.hypot(of_seeds, 0 if math.isnan(of_examples) else of_examples)
