"""Terms of the loss out of the records of runs, lined up by epoch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Curve", "Histories", "Record", "by_seed", "curve", "penalties"]

Record: TypeAlias = Mapping[str, Any]
Histories: TypeAlias = Mapping[str, Sequence[Sequence[Record]]]


@dataclass(frozen=True)
class Curve:
    """A term at each epoch: its median over seeds, its least and its greatest value."""

    epochs: Sequence[int]
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def by_seed(records: Sequence[Record] | Sequence[Sequence[Record]]) -> list[list[Record]]:
    """Return the records of each seed that finished an epoch; a single run is one seed."""
    flat = [record for record in records if isinstance(record, Mapping)]
    if flat:
        return [flat]
    return [list(of_seed) for of_seed in records if of_seed and not isinstance(of_seed, Mapping)]


def penalties(histories: Histories) -> list[str]:
    """Return the names of the terms beside objective and reconstruction, as they come."""
    names = [
        name
        for of_label in histories.values()
        for records in of_label
        for record in records
        for name in record["train"]
    ]
    return [name for name in dict.fromkeys(names) if name not in ("objective", "reconstruction")]


def curve(seeds: Sequence[Sequence[Record]], part: str, term: str) -> Curve:
    """Line up `term` of `part`, "train" or "held_out", at the epochs where every seed has it.

    A value that is missing, None or not finite leaves its epoch out.
    """
    values = [_finite(records, part, term) for records in seeds]
    epochs = sorted(set(values[0]).intersection(*values[1:])) if values else []
    at = [[of_seed[epoch] for of_seed in values] for epoch in epochs]
    return Curve(epochs, [*map(statistics.median, at)], [*map(min, at)], [*map(max, at)])


def _finite(records: Sequence[Record], part: str, term: str) -> dict[int, float]:
    found = {record["epoch"]: (record.get(part) or {}).get(term) for record in records}
    return {
        epoch: value for epoch, value in found.items() if value is not None and math.isfinite(value)
    }
