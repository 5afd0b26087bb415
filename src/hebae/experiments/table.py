"""One table for all experiments: measurements in rows; runs, or methods over seeds, in columns."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hebae.experiments.measurement import Measurement, find
from hebae.experiments.metrics.bounds import not_white
from hebae.experiments.trained_run import RunResult
from hebae.report.methods import display_name
from hebae.report.tables import Measured, Row, Table, Undefined, Value

ERRORS = 2
"""Standard errors by which the best value must differ from every other to be highlighted."""

_PENALTY = "objective.penalty."
# The summary of a run, in the tables of compare and sweep: id, heading, key in JSON and CSV.
_SUMMARY = (
    ("objective", "objective", "objective"),
    ("objective.reconstruction", "reconstruction", "reconstruction"),
    (_PENALTY, "penalty", ""),
    ("objective.excess", "penalty over noise floor", "excess"),
    ("moments.median_sigma", "median sigma", "median_sigma"),
    ("moments.mean_abs_correlation.mean", "mean |correlation|", "correlation"),
    ("training.seconds", "training", "seconds"),
    ("training.milliseconds_per_step", "time per step", "milliseconds_a_step"),
)


Columns = Mapping[str, Sequence[RunResult]]
"""By label: a run, or runs that differ only in their seed; some may have diverged."""


def group_by_column(runs: Sequence[RunResult], pool_seeds: bool) -> dict[str, list[RunResult]]:
    """Group runs into labelled columns; with `pool_seeds`, runs that differ only in their seed.

    A label is the method where that is unique, otherwise the name of the folder, or its path.
    """
    groups: dict[str, list[RunResult]] = {}
    for run in runs:
        key = run.settings.replace(seed=0, data_dir=None).to_yaml() if pool_seeds else str(run.path)
        groups.setdefault(key, []).append(run)
    firsts = [members[0] for members in groups.values()]
    methods = Counter(run.method for run in firsts)
    labels = [display_name(r.method) if methods[r.method] == 1 else r.label for r in firsts]
    for candidates in (labels, [r.label for r in firsts], [str(r.path) for r in firsts]):
        if len(set(candidates)) == len(candidates):
            break
    return dict(zip(candidates, groups.values(), strict=True))


def tabulate(
    columns: Columns,
    title: str,
    notes: Sequence[str] = (),
    *,
    ids: Mapping[str, str] | Iterable[str] | None = None,
) -> Table:
    """Make a table of measurements; the best value of a row is bold if it is significantly better.

    A cell shows the value with its standard error or, for several seeds, the median with the
    smallest and largest value. `notes` are shown below the table.

    `ids` are those of the rows, in this order and without sections, with their headings if they are
    not the names of the measurements. An id that ends with a dot stands for the first measurement
    of each run whose id begins with it. Without `ids`: all headline measurements, by section.
    """
    one_likelihood = (
        len({run.settings.likelihood for runs in columns.values() for run in runs}) == 1
    )
    headings = ids if isinstance(ids, Mapping) else {}
    rows = []
    for id, features, head in _heads(columns, ids):
        found = [_of(runs, id, features) for runs in columns.values()]
        comparable = bool(head.better) and (one_likelihood or not head.by_likelihood)
        rows.append(
            Row(
                headings.get(id, head.name),
                [
                    _cell(*pair, ids is not None)
                    for pair in zip(columns.values(), found, strict=True)
                ],
                "" if id == _PENALTY else head.unit,
                head.format,
                head.better if comparable else "",
                "" if ids else head.section,
                _best(found, head.better) if comparable else (),
            )
        )
    shown = [*notes]
    if len(columns) > 1 and any(row.better for row in rows):
        shown.append(
            f"Bold: the best value, if it differs from all others by more than {ERRORS} standard "
            "errors."
        )
    if not one_likelihood:
        shown.append("The likelihoods differ: bounds and reconstructions are not comparable.")
    return Table(title, list(columns), rows, shown)


def summary_rows(runs: Iterable[RunResult]) -> dict[str, str]:
    """Return ids and headings of the tables of `compare` and `sweep`.

    A method's first penalty shares a row with those of other methods; its further penalties have
    rows of their own.
    """
    rows = {id: heading for id, heading, _ in _SUMMARY}
    before = ("objective", "objective.reconstruction", _PENALTY)
    further = [one for run in runs for one in _penalties(run)[1:]]
    first = {id: rows.pop(id) for id in before}
    return first | {one.id: one.name for one in further} | rows


def numbers(run: RunResult) -> dict[str, Any]:
    """Return the values of `summary_rows` by short names, for JSON and CSV."""
    found: dict[str, Any] = {"split": run.split}
    found |= {key: run.value(id) for id, _, key in _SUMMARY if key}
    penalties = {one.id.removeprefix(_PENALTY): one.value for one in _penalties(run)}
    penalties.pop("none", None)  # stands for a method without one
    return found | {"penalty": penalties}


def whiteness_notes(columns: Columns) -> list[str]:
    """Return a warning per column with codes that are not white, see `not_white`."""
    notes = []
    for label, runs in columns.items():
        warnings = [warning for run in runs if (warning := not_white(run.measurements, run.split))]
        seeds = f" ({len(warnings)} of {len(runs)} seeds)" if len(runs) > 1 else ""
        notes += [f"{label}{seeds}: {warnings[0]}"] if warnings else []
    return notes


def _penalties(run: RunResult) -> list[Measurement]:
    return [one for one in run.measurements if one.id.startswith(_PENALTY)]


def _heads(
    columns: Columns, ids: Iterable[str] | None
) -> list[tuple[str, str | None, Measurement]]:
    """List id, features and an example of each row."""
    every = [one for runs in columns.values() for run in runs for one in run.measurements]
    if ids is not None:
        chosen = ((id, find(every, id)) for id in ids)
        return [(id, None, one) for id, one in chosen if one is not None]
    heads: dict[tuple[str, str], Measurement] = {}
    for one in every:
        if one.headline:
            heads.setdefault((one.id, one.features), one)
    sections = list(dict.fromkeys(one.section for one in heads.values()))
    ordered = sorted(heads.items(), key=lambda item: sections.index(item[1].section))
    return [(id, features, one) for (id, features), one in ordered]


def _of(runs: Sequence[RunResult], id: str, features: str | None) -> list[Measurement]:
    """Return the measurement with this id of each run that has it."""
    return [one for run in runs if (one := run.measurement(id, features)) is not None]


def _cell(runs: Sequence[RunResult], found: Sequence[Measurement], chosen: bool) -> Value:
    if not found:
        if all(run.diverged for run in runs):
            return Undefined("the run diverged")
        return Undefined("the method has no such term") if chosen else None
    values = [one.value for one in found]
    if all(value is None for value in values):
        return Undefined(found[0].undefined)
    if len(runs) > 1:
        return [*values, *[None] * (len(runs) - len(found))]
    value, error = next((one.value, one.standard_error) for one in found if one.value is not None)
    return Measured(value, error) if error else value


def _best(found: Sequence[Sequence[Measurement]], better: str) -> tuple[int, ...]:
    """Return the index of the best column, if it is significantly better than all others."""
    estimates = {i: e for i, measurements in enumerate(found) if (e := _estimate(measurements))}
    if len(estimates) < 2:
        return ()
    sign = 1 if better == "higher" else -1
    winner = max(estimates, key=lambda i: sign * estimates[i].value)
    best = estimates[winner]
    for i, other in estimates.items():
        # An unknown error is NaN, and no difference is larger than NaN.
        if i != winner and not abs(best.value - other.value) > ERRORS * _error(best, other):
            return ()
    return (winner,)


class _Estimate(NamedTuple):
    """The value of a column: the mean over its seeds, with two standard errors."""

    value: float
    of_examples: float  # which all seeds share; NaN if unknown
    of_seeds: float  # 0 for one seed
    per_example: npt.NDArray[np.float64] | None  # where stored: all runs have the same examples


def _estimate(measurements: Sequence[Measurement]) -> _Estimate | None:
    known = [one for one in measurements if one.value is not None]
    values = [one.value for one in known if one.value is not None]
    if not values:
        return None
    errors = [math.nan if one.standard_error is None else one.standard_error for one in known]
    of_examples = math.sqrt(fmean(error**2 for error in errors))
    of_seeds = 0.0
    if len(values) > 1:
        of_seeds = stdev(values) / math.sqrt(len(values))
        # If the error from the examples is unknown, the spread over seeds has to do.
        of_examples = 0.0 if math.isnan(of_examples) else of_examples
    arrays = [one.arrays["per_example"] for one in known if "per_example" in one.arrays]
    aligned = len(arrays) == len(known) and len(set(map(len, arrays))) == 1
    mean = np.mean(arrays, axis=0) if aligned else None
    return _Estimate(fmean(values), of_examples, of_seeds, mean)


def _error(a: _Estimate, b: _Estimate) -> float:
    """Return the standard error of the difference; example by example where that is possible."""
    x, y = a.per_example, b.per_example
    of_examples = math.hypot(a.of_examples, b.of_examples)
    if x is not None and y is not None and len(x) == len(y) > 1:
        of_examples = float(np.std(x - y, ddof=1)) / math.sqrt(len(x))
    return math.hypot(of_examples, a.of_seeds, b.of_seeds)
