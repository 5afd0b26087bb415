"""Results of a topic, in a form that the report can show for any topic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from turns import Readings, quartiles

__all__ = ["Aim", "Curve", "Effort", "Panel", "Result", "Table"]


class Effort(NamedTuple):
    """How much is measured, and with which references."""

    rounds: int = 20
    steps: int = 40
    smoke: bool = False
    """Only check that everything runs."""
    released: Path | None = None
    released_python: str = "python3"

    def share(self, fraction: float) -> int:
        """Fewer rounds for slow comparisons: this fraction, but at least 3 if there are so many."""
        return min(self.rounds, max(3, round(self.rounds * fraction)))

    def few(self, sizes: Sequence[int]) -> Sequence[int]:
        """All sizes, or two of them with --smoke."""
        return sizes[:2] if self.smoke else sizes


@dataclass(frozen=True)
class Aim:
    """A quantity measured once per round, and the target for its median."""

    what: str
    unit: str
    values: Sequence[float]
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""
    """Why there are no values."""

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form, with median, quartiles and verdict (None if there is none)."""
        record: dict[str, Any] = {**asdict(self), "values": list(self.values)}
        low, median, high = quartiles(self.values) if self.values else (None, None, None)
        met = None
        if median is not None and self.at_most is not None:
            met = median <= self.at_most
        elif median is not None and self.at_least is not None:
            met = median >= self.at_least
        return {**record, "low": low, "median": median, "high": high, "met": met}


@dataclass(frozen=True)
class Table:
    """Further numbers, ready to be printed."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Curve:
    """Medians as a function of size; with `fitted`, the exponent of a fitted power law."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    fitted: bool = True

    @property
    def exponent(self) -> float | None:
        """Slope of the least-squares line through the logarithms."""
        if not self.fitted or len(self.x) < 2:
            return None
        slope, _ = np.polyfit(np.log(self.x), np.log(self.y), 1)
        return float(slope) if math.isfinite(slope) else None


@dataclass(frozen=True)
class Panel:
    """Curves that share axes, both logarithmic."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Result:
    """Everything that a topic measured."""

    title: str
    text: str
    """What was measured and how."""
    aims: Sequence[Aim] = ()
    readings: Readings = field(default_factory=dict)
    readings_title: str = ""
    readings_unit: str = "ms"
    tables: Sequence[Table] = ()
    panels: Sequence[Panel] = ()

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form."""
        record = asdict(self)
        record["aims"] = [aim.as_record() for aim in self.aims]
        record["panels"] = [
            {
                **asdict(panel),
                "curves": [{**asdict(c), "exponent": c.exponent} for c in panel.curves],
            }
            for panel in self.panels
        ]
        return record
