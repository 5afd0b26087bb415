"""A number that was measured on a trained run, with everything needed to read it correctly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from hebae.errors import UndefinedMetric
from hebae.evaluation.estimate import Estimate

_OF_THE_ENTRY = ("metric", "section", "settings", "provenance")
"""Fields that a file stores once for all measurements of a metric."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number that was measured, or the reason why it is undefined.

    Parameters
    ----------
    id : str
        Stable name for programs, such as ``moments.mean_abs_correlation.mean``; see
        ``metrics/catalogue.yaml``.
    features : str
        Feature space, such as ``pixels``, for a measurement that is taken in one.
    name, unit, format : str
        What people read; the name holds counts and features where the value depends on them.
    value, standard_error : float or None
        None if undefined or unknown; both in the same unit.
    better : "higher", "lower" or ""
        "" if neither is better, or if models cannot be compared by the value.
    counts : mapping of str to int
        Numbers of examples, samples, draws, ... behind the value.
    undefined, note, detail : str
        Why there is no value; what the quantity means; what is particular to this run.
    by_likelihood : bool
        Whether values are comparable only between models with the same likelihood.
    headline : bool
        Whether `hebae evaluate` shows it in its table; other measurements are only stored.
    arrays : mapping of str to nested lists
        Data for figures.
    metric, section : str
        The metric that measured it, as ``--metrics`` names it, and its section of the table.
    settings, provenance : mapping
        The evaluation settings that the value depends on; command, commit and machine.
    """

    id: str
    features: str = ""
    name: str
    value: float | None = None
    standard_error: float | None = None
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    undefined: str = ""
    note: str = ""
    detail: str = ""
    by_likelihood: bool = False
    headline: bool = True
    arrays: Mapping[str, Any] = field(default_factory=dict)
    format: Annotated[str, Field(pattern=r"^\.\d{1,2}[efg]$")] = ".4g"
    metric: str = ""
    section: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Treat a value that is not finite as undefined: JSON has no way to write it."""
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)
            object.__setattr__(self, "undefined", self.undefined or "it is not a finite number")
        if self.standard_error is not None and not math.isfinite(self.standard_error):
            object.__setattr__(self, "standard_error", None)

    def to_json(self) -> dict[str, Any]:
        """Return the arguments that restore it, without empty fields and those of the entry."""
        values = {k: v for k, v in asdict(self).items() if k not in _OF_THE_ENTRY}
        return {k: v for k, v in values.items() if k == "value" or v not in (None, "", {})}


def attempt(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a function; return its result or, if it is undefined, the `UndefinedMetric` raised."""
    try:
        return function(*arguments, **keywords)
    except UndefinedMetric as reason:
        return reason


def part(found: Any, name: str) -> Any:
    """Return an attribute of the result of `attempt`; if that is undefined, the reason."""
    return found if isinstance(found, UndefinedMetric) else getattr(found, name)


def measured(
    id: str,
    value: float | Estimate | UndefinedMetric | None,
    counts: Mapping[str, int] | None = None,
    *,
    words: Mapping[str, object] | None = None,
    arrays: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Measurement:
    """Make a measurement with the texts that ``metrics/catalogue.yaml`` has for its id.

    Parameters
    ----------
    id : str
    value : float, Estimate (with a standard error), UndefinedMetric (the reason), or None
        A field `undefined` is the reason for None.
    counts : mapping of str to int
    words : mapping of str to object
        Values for the name and note, beside the counts.
    arrays : mapping of str to list, number or array
        Data for figures; undefined ones are left out.
    **fields
        Further fields of the measurement.
    """
    catalogue = _catalogue()
    key = id
    while key not in catalogue and "." in key:
        key = key.rpartition(".")[0]
    values = {**(counts or {}), **(words or {})}
    texts = {
        name: text.format(**values) if name in ("name", "note") else text
        for name, text in catalogue.get(key, {"name": id}).items()
    }
    known = {
        name: array.tolist() if isinstance(array, np.ndarray) else array
        for name, array in (arrays or {}).items()
        if not isinstance(array, UndefinedMetric)
    }
    result = Measurement(id=id, counts=counts or {}, arrays=known, **{**texts, **fields})
    if isinstance(value, UndefinedMetric):
        return replace(result, undefined=str(value))
    if isinstance(value, Estimate):
        error = float(value.standard_error)
        return replace(result, value=float(value.value), standard_error=error, undefined="")
    return result if value is None else replace(result, value=float(value), undefined="")


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    import yaml

    path = Path(__file__).with_name("metrics") / "catalogue.yaml"
    catalogue: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return catalogue


def find(
    measurements: Iterable[Measurement], id: str, features: str | None = None
) -> Measurement | None:
    """Return the first measurement with this id (and in this feature space), or None.

    An id that ends with a dot matches every id that begins with it.
    """
    for one in measurements:
        matches = one.id.startswith(id) if id.endswith(".") else one.id == id
        if matches and features in (None, one.features):
            return one
    return None


def value_of(
    measurements: Iterable[Measurement], id: str, features: str | None = None
) -> float | None:
    """Return the value of the measurement that `find` returns; None if there is none."""
    one = find(measurements, id, features)
    return None if one is None else one.value
