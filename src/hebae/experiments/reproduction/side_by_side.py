"""Chosen measurements of groups of runs, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hebae.experiments.evaluation.measurement import Measurement
from hebae.experiments.reproduction.study import FinishedRun, median
from hebae.report.tables import Measured, Row, Table, Undefined, Value

__all__ = ["Quantity", "cell", "middle", "side_by_side"]


class Quantity(NamedTuple):
    """A measurement, found as `FinishedRun.measurement` does."""

    metric: str
    words: str


def middle(runs: Sequence[FinishedRun], quantity: Quantity) -> float | None:
    """Return the median over seeds; None if no run has a value."""
    return median(run.value(*quantity) for run in runs)


def side_by_side(
    columns: Mapping[str, Sequence[FinishedRun]],
    quantities: Sequence[Quantity],
    title: str,
    notes: Sequence[str] = (),
    first: Sequence[Row] = (),
) -> Table:
    """Tabulate measurements: a column a group of runs that differ in their seed alone.

    Parameters
    ----------
    columns : mapping of str to sequence of FinishedRun
    quantities : sequence of Quantity
        Those that no run was measured by are left out.
    title : str
    notes : sequence of str
    first : sequence of Row
        Rows that are no measurements, such as settings.
    """
    rows = [*first]
    for quantity in quantities:
        found = [[run.measurement(*quantity) for run in runs] for runs in columns.values()]
        head = next((m for group in found for m in group if m is not None), None)
        if head is not None:
            values = [cell(group) for group in found]
            rows.append(Row(head.name, values, head.unit, head.format, head.better))
    return Table(title, list(columns), rows, notes)


def cell(measurements: Sequence[Measurement | None]) -> Value:
    """Return what a table shows of the runs of a column: of several seeds, all values."""
    there = [m for m in measurements if m is not None]
    known = [m for m in there if m.value is not None]
    if not there:
        return None
    if not known:
        return Undefined(there[0].undefined)
    if len(known) > 1:
        return [m.value for m in known]
    (one,) = known
    assert one.value is not None
    return Measured(one.value, one.standard_error) if one.standard_error else one.value
