"""What the numbers of examples stand for: columns, conditions, variants; what a model has seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True)
class Column:
    """What the numbers of one column of a table stand for."""

    name: str
    kind: Literal["number", "category", "count", "binary"]
    categories: tuple[str, ...] = ()
    """Names of the categories, in the order of their codes 0, 1, ...; of a binary column, both."""
    dtype: Literal["float", "int", "bool", "text", "date"] = "float"
    """What the table held: samples are written in the same form."""
    low: float | None = None
    high: float | None = None
    """Smallest and largest number or count: samples are kept between them."""


@dataclass(frozen=True)
class Conditions:
    """What a model is conditioned on, and the conditions of the training examples."""

    columns: tuple[Column, ...]
    mean: tuple[float, ...]
    """Mean of each column of numbers over the training examples; 0 for categories."""
    unit: tuple[float, ...]
    """Standard deviation of each column of numbers; 1 for categories."""
    rows: tuple[tuple[float, ...], ...]
    """The different conditions of the training examples, or of `MOST_ROWS` random ones."""
    counts: tuple[int, ...]
    """How often each of `rows` occurs."""

    MOST_ROWS: ClassVar[int] = 1000

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def dim(self) -> int:
        """Numbers that a network is given: one per category, and one per column of numbers."""
        return sum(len(column.categories) or 1 for column in self.columns)

    @classmethod
    def learn(cls, values: np.ndarray, columns: tuple[Column, ...]) -> Conditions:
        """Learn from the conditions (n, columns) of the training examples."""
        numbers = [not column.categories for column in columns]
        exact = values.astype(np.float64)
        mean = np.where(numbers, exact.mean(0), 0.0)
        deviation = exact.std(0)
        unit = np.where(numbers & (deviation > 0), deviation, 1.0)
        rows, counts = np.unique(values, axis=0, return_counts=True)
        if len(rows) > cls.MOST_ROWS:
            order = np.random.default_rng(0).permutation(len(values))[: cls.MOST_ROWS]
            rows, counts = np.unique(values[order], axis=0, return_counts=True)
        listed = tuple(map(tuple, rows.tolist()))
        return cls(
            columns, tuple(mean.tolist()), tuple(unit.tolist()), listed, tuple(counts.tolist())
        )

    def draw(self, count: int, seed: int) -> np.ndarray:
        """Draw conditions (count, columns) by their frequencies in training."""
        counts = np.array(self.counts)
        rng = np.random.default_rng([seed, 1])
        chosen = rng.choice(len(counts), count, p=counts / counts.sum())
        return np.array(self.rows, np.float32)[chosen]

    def __post_init__(self) -> None:
        lengths = {len(self.mean), len(self.unit), *map(len, self.rows)}
        if {len(self.columns)} != lengths or len(self.rows) != len(self.counts):
            raise ValueError("the conditions of the model do not fit together")


@dataclass(frozen=True)
class Seen:
    """What the numbers of the training examples are: new examples must be alike."""

    kind: Literal["grey levels", "whole numbers", "numbers"]
    """uint8 grey levels; uint8, counts or categories as they are; or any others."""
    feature_names: tuple[str, ...] | None = None
    columns: tuple[Column, ...] | None = None
    conditions: Conditions | None = None
    variants: tuple[str, ...] | None = None
    """Variants of genotypes, by `Variants.texts`."""

    @property
    def pixels(self) -> bool | None:
        """What `Examples.pixels` must be; None for numbers in general."""
        return None if self.kind == "numbers" else self.kind == "grey levels"

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Seen:
        """Read what `dataclasses.asdict` gave, after a way through JSON."""
        try:
            return TypeAdapter(cls).validate_python(stored)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, ("seen", *first["loc"])))
            raise ValueError(f"{where} is {first['input']!r}: {first['msg']}") from None


@dataclass(frozen=True, eq=False)
class Variants:
    """Place and alleles of each of d variants, whose genotypes count copies of `allele_1`."""

    chromosome: np.ndarray
    """Names, str of shape (d,)."""
    position: np.ndarray
    """Base pairs, int64 of shape (d,)."""
    allele_1: np.ndarray
    allele_2: np.ndarray
    """Alleles, str of shape (d,)."""

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Chromosome, position, allele 1 and allele 2 of each variant, with spaces between."""
        columns = self.chromosome, self.position, self.allele_1, self.allele_2
        return tuple(map("{} {} {} {}".format, *(column.tolist() for column in columns)))


class Summary(NamedTuple):
    """What the observed numbers of examples have in common, in the units that a model sees."""

    low: float
    high: float
    whole: bool
    """Whether all are whole numbers."""
    missing: int
    """How many numbers are missing."""
    zeros: int
    """How many numbers are 0."""
    observed: int
    """How many numbers are not missing."""

    def merged(self, other: Summary) -> Summary:
        """Summarise the numbers of both."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        counts = (a + b for a, b in zip(self[3:], other[3:], strict=True))
        return Summary(low, high, self.whole and other.whole, *counts)


NOTHING = Summary(math.inf, -math.inf, True, 0, 0, 0)
"""Of no numbers."""


def summarise(parts: Iterable[np.ndarray], *, pixels: bool = False) -> Summary:
    """Summarise numbers, NaN where one is missing; uint8 `pixels` are scaled to [0, 1]."""
    low, high, whole, missing, zeros, observed = NOTHING
    for part in parts:
        if part.dtype.kind == "f":
            absent = np.isnan(part)
            count = int(absent.sum())
            missing += count
            part = part[~absent] if count else part
        elif pixels and part.dtype == np.uint8:
            part = part / np.float32(255)
        if part.size:
            low, high = min(low, float(part.min())), max(high, float(part.max()))
            observed += part.size
            zeros += part.size - int(np.count_nonzero(part))
            whole = whole and (part.dtype.kind != "f" or bool((part == np.rint(part)).all()))
    return Summary(low, high, whole, missing, zeros, observed)
