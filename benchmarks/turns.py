"""Contenders take turns, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from contenders import Contender
from rich.progress import track

__all__ = ["Readings", "clocked", "paired", "quartiles", "take_turns", "timed"]

Readings = dict[str, list[float]]
"""Seconds by contender, one number per round."""


def take_turns(
    contenders: Mapping[str, Callable[[], float]], rounds: int, label: str = "measuring"
) -> Readings:
    """Measure each contender once per round."""
    readings: Readings = {name: [] for name in contenders}
    for round_ in track(range(rounds), label, transient=True):
        # There and back again, so that a machine that is slowing down favours nobody.
        for name in list(contenders)[:: 1 if round_ % 2 == 0 else -1]:
            readings[name].append(contenders[name]())
    return readings


def timed(contender: Contender, examples: np.ndarray, count: int) -> Callable[[], float]:
    """Return a function that runs a contender and returns its seconds divided by `count`."""

    def measure() -> float:
        marks: list[float] = []
        contender(examples, lambda: marks.append(time.perf_counter()))
        begin, end = marks
        return (end - begin) / count

    return measure


def clocked(function: Callable[[], object]) -> Callable[[], float]:
    """Return a function that runs another one and returns its seconds."""

    def measure() -> float:
        begin = time.perf_counter()
        function()
        return time.perf_counter() - begin

    return measure


def paired(readings: Readings, name: str, reference: str) -> list[float]:
    """Ratio of the times of `name` and `reference` in each round."""
    pairs = zip(readings[name], readings[reference], strict=True)
    return [ours / theirs for ours, theirs in pairs]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile."""
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
