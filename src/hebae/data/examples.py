"""Examples and data sets: what every source of data returns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hebae.errors import HebaeError

_BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True, eq=False)
class Examples:
    """One split: examples and what is known about them.

    Parameters
    ----------
    values : ndarray, shape (n, channels, height, width) or (n, features)
        uint8 (0..255, standing for [0, 1]) or float32. May be a read-only memory map, or a sparse
        SciPy CSR array of shape (n, features). Copied only if torch cannot read its strides, such
        as those of ``X[::-1]``.
    labels : ndarray of int64, shape (n,), optional
    ids : ndarray of str, shape (n,), optional
        Names of the examples.
    feature_names : tuple of str, optional
        One per feature (or per channel of an image).
    missing : ndarray of bool, the shape of `values`, optional
        True where a value is missing; `values` must be a finite number there too.

    Raises
    ------
    HebaeError
        If there is no example, or the type or shape of an array is wrong.
    """

    values: np.ndarray
    labels: np.ndarray | None = None
    ids: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    missing: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.values.shape
        if self.values.dtype not in (np.uint8, np.float32):
            raise HebaeError(
                f"The examples have type {self.values.dtype}, but must be uint8 (0..255) or "
                "float32: convert them with .astype first."
            )
        if len(shape) not in (2, 4) or 0 in shape:
            raise HebaeError(
                f"The examples have shape {shape}, but must be (n, features) or (n, channels, "
                "height, width), with no dimension of size 0."
            )
        if self.is_sparse:
            values: Any = self.values
            if values.format != "csr":
                raise HebaeError(f"Sparse examples are in {values.format} format: use .tocsr().")
            if not values.has_canonical_format:
                values = values.copy()
                values.sum_duplicates()
                object.__setattr__(self, "values", values)
        else:
            size = self.values.itemsize
            if any(stride < 0 or stride % size for stride in self.values.strides):
                object.__setattr__(self, "values", np.ascontiguousarray(self.values))
        n = len(self)
        for name, array, kind, wanted in (
            ("labels", self.labels, np.int64, (n,)),
            ("ids", self.ids, np.str_, (n,)),
            ("mask of missing values", self.missing, np.bool_, shape),
        ):
            if array is not None and (array.shape != wanted or array.dtype.type != kind):
                raise HebaeError(
                    f"The {name} of {n} examples must be {kind.__name__} of shape {wanted}, not "
                    f"{array.dtype} of shape {array.shape}."
                )
        if self.feature_names is not None and len(self.feature_names) != shape[1]:
            raise HebaeError(
                f"There are {len(self.feature_names)} feature names for {shape[1]} features."
            )

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def __getitem__(self, index: slice | np.ndarray) -> Examples:
        """Select examples; a forward slice of dense examples shares memory."""
        return self.take(index, self.values[index])

    def take(self, index: slice | np.ndarray, values: np.ndarray) -> Examples:
        """Return the examples at `index`, given their `values`."""
        labels, ids, missing = (
            None if array is None else array[index]
            for array in (self.labels, self.ids, self.missing)
        )
        return Examples(values, labels, ids, self.feature_names, missing)

    @property
    def is_sparse(self) -> bool:
        """Whether `values` is a SciPy sparse array."""
        return hasattr(self.values, "tocsr")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width) or (features,)."""
        return self.values.shape[1:]

    @cached_property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value as a model sees them; uint8 stands for [0, 1]."""
        if self.values.dtype == np.uint8:
            return 0.0, 1.0
        parts = [self.values] if self.is_sparse else blocks(self.values)
        extremes = [(part.min(), part.max()) for part in parts]
        return float(min(low for low, _ in extremes)), float(max(high for _, high in extremes))


@dataclass(frozen=True, eq=False)
class Variants:
    """Place and alleles of each of d variants, whose genotypes count copies of `allele_1`."""

    chromosome: np.ndarray
    """Names, str of shape (d,)."""
    position: np.ndarray
    """Base pairs, int64 of shape (d,)."""
    allele_1: np.ndarray
    allele_2: np.ndarray
    """Of str, shape (d,)."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of one data set.

    Parameters
    ----------
    name : str
    train, validation, test : Examples
        All of one shape and type; `validation` and `test` may be None.
    fingerprint : str
        SHA-256 (hexadecimal) of the source's content, whatever validation examples are set aside;
        equal on all machines.
    notes : tuple of str
        Sentences for the user, such as how validation examples were set aside.
    original : Dataset, optional
        The grey values that these binary ones were drawn from.
    redrawn : bool
        Whether training draws from `original` anew in each epoch.
    variants : Variants, optional
        What the features of genotypes are.

    Raises
    ------
    HebaeError
        If the splits differ in shape, type or feature names.
    """

    name: str
    train: Examples
    validation: Examples | None
    test: Examples | None
    fingerprint: str
    notes: tuple[str, ...] = ()
    original: Dataset | None = None
    redrawn: bool = False
    variants: Variants | None = None

    def __post_init__(self) -> None:
        for split, examples in (("validation", self.validation), ("test", self.test)):
            if examples is None:
                continue
            other, train = (
                f"{'sparse ' if part.is_sparse else ''}{part.values.dtype} of shape {part.shape}"
                for part in (examples, self.train)
            )
            if other != train or examples.feature_names != self.train.feature_names:
                raise HebaeError(
                    f"{self.name}: the examples of the {split} split are {other} and those of the "
                    f"training split {train}. All splits must have the same type, shape and "
                    "feature names."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width) or (features,)."""
        return self.train.shape

    @property
    def pictures(self) -> Dataset:
        """Where references for images E[x | z] come from: the original of binary values."""
        return self.original or self

    def held_out(self) -> tuple[str, Examples] | None:
        """Return name and examples of the validation split, else of the test split, else None."""
        if self.validation is not None:
            return "validation", self.validation
        if self.test is not None:
            return "test", self.test
        return None


def blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows, about 16 MiB at a time, so that a memory map is never read as a whole."""
    rows = max(1, _BLOCK_BYTES // max(1, values[:1].nbytes))
    for start in range(0, len(values), rows):
        yield values[start : start + rows]


def fingerprint(splits: Mapping[str, Examples | None]) -> str:
    """Return the SHA-256 of the names, types, shapes and values of splits, labels and masks."""
    digest = hashlib.sha256()
    for split, examples in splits.items():
        if examples is None:
            continue
        values: Any = examples.values
        parts = [values.indptr, values.indices, values.data] if examples.is_sparse else [values]
        for array in (*parts, examples.labels, examples.missing):
            if array is not None:
                digest.update(f"{split} {array.dtype.str} {array.shape}\n".encode())
                for block in blocks(array):
                    digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()
