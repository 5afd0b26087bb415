"""What may stand in a cell of a table, and how it is said."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

__all__ = ["Measured", "Summary", "Undefined", "Value", "summarise"]


@dataclass(frozen=True)
class Undefined:
    """In place of a number that does not exist; the reason goes into a footnote."""

    reason: str


@dataclass(frozen=True)
class Measured:
    """A number with its standard error, in the same unit."""

    value: float
    standard_error: float


# A number, one with its error, words, why there is none, the numbers of several seeds, or None if
# nobody measured.
Value: TypeAlias = float | Measured | str | Undefined | Sequence[float | None] | None


@dataclass(frozen=True)
class Summary:
    """A value as a table keeps it; of several seeds the median and the range.

    Parameters
    ----------
    value : float, str or None
    minimum, maximum : float or None
        Over seeds, if there are several.
    seeds : int or None
        How many have a value, if there are several.
    note : str
        Why there is no value, or not one of every seed.
    standard_error : float or None
        If it is known, and there is one seed.
    """

    value: float | str | None
    minimum: float | None = None
    maximum: float | None = None
    seeds: int | None = None
    note: str = ""
    standard_error: float | None = None

    def text(self, format_spec: str, before_range: str = " ") -> str:
        """Return ``-102.7 ± 0.4``, or the median with its range: ``-102.7 [-103.1, -102.0]``."""
        if self.value is None:
            return "–" if self.note == _NOT_MEASURED else "undefined"
        if isinstance(self.value, str):
            return self.value
        middle = format(float(self.value), format_spec)
        if self.standard_error is not None:
            return f"{middle}{before_range}± {self.standard_error:.2g}"
        if self.minimum is None or self.maximum is None:
            return middle
        low, high = (format(float(end), format_spec) for end in (self.minimum, self.maximum))
        return f"{middle}{before_range}[{low}, {high}]"


_NOT_MEASURED = "not measured"
_NOT_FINITE = "not a finite number"


def summarise(value: Value) -> Summary:
    """Reduce a cell's value to what is shown and kept."""
    if value is None:
        return Summary(None, note=_NOT_MEASURED)
    if isinstance(value, Undefined):
        return Summary(None, note=value.reason)
    if isinstance(value, str):
        return Summary(value)
    if isinstance(value, Measured):
        known = summarise(value.value)
        return replace(known, standard_error=_plain(value.standard_error))
    if isinstance(value, Iterable):
        return _over_seeds(value)
    return Summary(_plain(value)) if math.isfinite(value) else Summary(None, note=_NOT_FINITE)


def _over_seeds(values: Sequence[float | None]) -> Summary:
    known = [_plain(value) for value in values if value is not None and math.isfinite(value)]
    if not known:
        some = any(value is not None for value in values)
        return Summary(None, note=_NOT_FINITE if some else _NOT_MEASURED)
    if len(values) == 1:
        return Summary(known[0])
    missing = f"{len(known)} of {len(values)} seeds" if len(known) < len(values) else ""
    return Summary(statistics.median(known), min(known), max(known), len(known), missing)


def _plain(value: float) -> float:
    """Return a number of Python, for JSON, where NumPy's may have been given."""
    return value if isinstance(value, int) else float(value)
