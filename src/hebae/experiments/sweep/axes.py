"""The axes of a sweep, out of words such as ``seed=0..4``."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from hebae.config import DataSettings, Settings
from hebae.errors import HebaeError

__all__ = ["MOST_RUNS", "Axis", "as_text", "parse"]

MOST_RUNS = 10_000
"""Of a sweep, and values of an axis: more is a slip."""

EXAMPLE = "--grid penalty_weight=0.1,1,10 --grid seed=0..4"
_WHOLE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_SPACED = re.compile(r"(.+?)\.\.(.+):(\d+)")


@dataclass(frozen=True)
class Axis:
    """A setting, and the values that it takes in turn."""

    name: str
    values: tuple[Any, ...]

    @property
    def is_numeric(self) -> bool:
        """Whether each value is a number."""
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)

    def label(self, value: Any) -> str:
        """Name one value: ``penalty_weight=0.001``."""
        return f"{self.name}={as_text(value)}"


def parse(texts: Sequence[str]) -> list[Axis]:
    """Read axes from the command line.

    Parameters
    ----------
    texts : sequence of str
        Each ``NAME=VALUES``. VALUES are separated by commas; each is a value, a range of whole
        numbers ``0..4``, or ``LOW..HIGH:COUNT``, so many numbers spaced evenly in their logarithm,
        of four significant digits (whole numbers for a setting that takes nothing else). Widths of
        layers are joined by an x: ``encoder_widths=100,784x800``.

    Returns
    -------
    list of Axis
        In the order given.

    Raises
    ------
    HebaeError
        For what is no axis: an unknown name, a bad value, an axis or a value given twice, more than
        `MOST_RUNS` combinations.
    """
    if not texts:
        raise HebaeError(f"a sweep needs an axis or more: hebae sweep {EXAMPLE}.")
    axes = [_parse(text) for text in texts]
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise HebaeError(f"--grid {name} is given twice; put all its values into one.")
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_RUNS:
        raise HebaeError(
            f"the axes have {count:,} combinations, and a sweep at most {MOST_RUNS:,} runs; give "
            "fewer values."
        )
    return axes


def as_text(value: Any) -> str:
    """Write a setting's value as `parse` reads it, for a person and for the name of a folder."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _parse(text: str) -> Axis:
    name, equals, values = text.partition("=")
    name = name.strip().removeprefix("--").replace("-", "_")
    if not equals or not name:
        raise HebaeError(f"--grid {text!r} is not NAME=VALUES, such as {EXAMPLE}.")
    _require_axis(name)
    parts = [part.strip() for part in values.split(",")]
    if not all(parts):
        raise HebaeError(
            f"--grid {text} has {'no value' if parts == [''] else 'an empty value'}; give one or "
            "more, separated by commas."
        )
    found: list[Any] = []
    for part in parts:
        found += [_checked(name, word) for word in _spread(name, part)]
        if len(found) > MOST_RUNS:
            raise _too_many(name, len(found))
    value, times = Counter(found).most_common(1)[0]
    if times > 1:
        raise HebaeError(f"--grid {name} has the value {as_text(value)} twice; give it once.")
    return Axis(name, tuple(found))


def _require_axis(name: str) -> None:
    if name in DataSettings.model_fields:
        raise HebaeError(
            f"{name} cannot be an axis, since all runs of a sweep share one loaded data set; make "
            "a sweep for each."
        )
    if name == "devices":
        raise HebaeError("devices cannot be an axis: a sweep trains on one device.")
    known = [key for key in Settings.model_fields if key not in DataSettings.model_fields]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        suggestion = f" (did you mean {near[0]!r}?)" if near else ""
        raise HebaeError(
            f"unknown key {name!r} in --grid{suggestion}; hebae sweep --help lists all keys."
        )


def _spread(name: str, part: str) -> Iterator[str]:
    """Write a range out; anything else is one value."""
    if whole := _WHOLE.fullmatch(part):
        low, high = int(whole[1]), int(whole[2])
        if high < low:
            raise HebaeError(f"--grid {name}={part} has no value: write {high}..{low}.")
        if high - low >= MOST_RUNS:
            raise _too_many(name, high - low + 1)
        yield from map(str, range(low, high + 1))
    elif ".." in part:
        yield from _spaced(name, part)
    else:
        yield part


def _spaced(name: str, part: str) -> Iterator[str]:
    """Write out ``LOW..HIGH:COUNT``."""
    match = _SPACED.fullmatch(part)
    try:
        low, high, count = float(match[1]), float(match[2]), int(match[3])  # type: ignore[index]
    except (TypeError, ValueError):
        raise HebaeError(
            f"--grid {name}={part} is no range: 0..4 are whole numbers, and 0.001..1000:7 are "
            "seven spaced evenly in their logarithm."
        ) from None
    if not 0 < low < high < math.inf or count < 2:
        raise HebaeError(
            f"--grid {name}={part}: numbers spaced evenly in their logarithm go from one above 0 "
            "to a larger one, and are 2 or more."
        )
    if count > MOST_RUNS:
        raise _too_many(name, count)
    whole = Settings.model_fields[name].annotation is int
    for index in range(count):
        value = low * (high / low) ** (index / (count - 1))
        yield str(round(value)) if whole else f"{value:.4g}"


def _checked(name: str, word: str) -> Any:
    """Turn a word into a value of the setting."""
    value: Any = word
    kinds = str(Settings.model_fields[name].annotation)
    if word == "none" and type(None) in get_args(Settings.model_fields[name].annotation):
        value = None
    elif "tuple" in kinds:
        value = word.split("x")
    return getattr(Settings.checked({name: value}, "--grid"), name)


def _too_many(name: str, count: int) -> HebaeError:
    return HebaeError(
        f"--grid {name} has {count:,} values or more, and a sweep at most {MOST_RUNS:,} runs; give "
        "fewer."
    )
