"""One number of an evaluation, with all that must be said beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from hebae.evaluation.estimate import Estimate, UndefinedMetric

__all__ = ["Better", "Measurement", "measured"]

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number that was measured, or the reason why there is none.

    Parameters
    ----------
    name : str
        Counts and features are part of it, where the value depends on them.
    value : float or None
        None where it is undefined.
    standard_error : float or None
        In the same unit; None where it is not known.
    unit : str
    better : "higher", "lower" or ""
        "" where neither is, or where models cannot be compared by it.
    counts : mapping of str to int
        Of what it was taken over: examples, samples, draws, ...
    undefined : str
        Why there is no value.
    note : str
        What was assumed or chosen, in words.
    by_likelihood : bool
        Whether values are comparable between models of one likelihood only.
    headline : bool
        Whether it stands in the table; the others are kept in the file.
    arrays : mapping of str to nested lists
        What figures are drawn from.
    format : str
        How the table writes it.
    """

    name: str
    value: float | None = None
    standard_error: float | None = None
    unit: str = ""
    better: Better = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    undefined: str = ""
    note: str = ""
    by_likelihood: bool = False
    headline: bool = True
    arrays: Mapping[str, Any] = field(default_factory=dict)
    format: str = ".4g"

    def __post_init__(self) -> None:
        """Keep no number that is none: a file of JSON has no place for it, and a table no use."""
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)
            object.__setattr__(self, "undefined", self.undefined or "it is not a finite number")
        if self.standard_error is not None and not math.isfinite(self.standard_error):
            object.__setattr__(self, "standard_error", None)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes; nothing that is empty but the value."""
        return {k: v for k, v in asdict(self).items() if k == "value" or v not in (None, "", {})}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make it again; a TypeError if these are no measurement's."""
        return cls(**values)


def measured(
    name: str, measure: Callable[[], float | Estimate], note: str = "", **others: Any
) -> Measurement:
    """Measure, and keep the reason where the quantity does not exist.

    Parameters
    ----------
    name : str
    measure : callable
        Gives a number, or one with its standard error.
    note : str
    **others
        Fields of `Measurement`.
    """
    try:
        found = measure()
    except UndefinedMetric as reason:
        return Measurement(name=name, undefined=str(reason), note=note, **others)
    if isinstance(found, Estimate):
        value, error = float(found.value), float(found.standard_error)
        return Measurement(name=name, value=value, standard_error=error, note=note, **others)
    return Measurement(name=name, value=float(found), note=note, **others)
