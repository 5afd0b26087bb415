"""Examples and data sets: what every source of data returns."""

from __future__ import annotations

import hashlib
import math
import mmap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from hebae.data.schema import Column, Conditions, Seen, Summary, Variants, summarise
from hebae.errors import HebaeError

_BLOCK_BYTES = 16 * 2**20
_LARGEST_SMALL = 15
"""uint8 numbers up to this are counts, genotypes or classes rather than grey levels."""


class LazyRows(Protocol):
    """An array of which only the rows that are asked for are read, such as a file of genotypes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    nbytes: int
    """Bytes of the rows as arrays."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray: ...
    def select(self, index: slice | np.ndarray) -> LazyRows:
        """Return the rows at `index`; nothing is read."""


@dataclass(frozen=True, eq=False)
class Examples:
    """One split: examples and what is known about them.

    Parameters
    ----------
    values : ndarray, shape (n, channels, height, width) or (n, features)
        uint8 or float32; NaN where a number is missing. May be a read-only memory map, `LazyRows`,
        or a sparse SciPy CSR array of shape (n, features). Copied only if torch cannot read its
        strides, such as those of ``X[::-1]``.
    labels : ndarray of int64, shape (n,), optional
    ids : ndarray of str, shape (n,), optional
        Names of the examples.
    feature_names : tuple of str, optional
        One per feature (or per channel of an image).
    missing : ndarray of bool, the shape of `values`, optional
        True where a value is missing, whatever number `values` has there.
    pixels : bool, optional
        What uint8 values are: grey levels from 0 (black) to 255 (white), or numbers as they are,
        such as counts and genotypes. By default grey levels if one is above 15. For float32,
        False says that whole numbers are counts.
    columns : tuple of Column, optional
        What the columns of a table stand for: one per feature.
    label_names : tuple of str, optional
        Names of the labels 0, 1, ...
    variants : Variants, optional
        What the features of genotypes are.
    conditions : ndarray of float32, shape (n, p), optional
        What the decoder is given in addition to the code: numbers, and codes 0, 1, ... of
        categories.
    condition_columns : tuple of Column, optional
        What the columns of `conditions` are.

    Raises
    ------
    HebaeError
        If there is no example, or the type or shape of an array is wrong.
    """

    values: Any
    labels: np.ndarray | None = None
    ids: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    missing: Any = None
    pixels: bool | None = None
    columns: tuple[Column, ...] | None = None
    label_names: tuple[str, ...] | None = None
    variants: Variants | None = None
    conditions: np.ndarray | None = None
    condition_columns: tuple[Column, ...] | None = None

    def __post_init__(self) -> None:
        shape = self.values.shape
        if self.values.dtype not in (np.uint8, np.float32):
            raise HebaeError(
                f"The examples have type {self.values.dtype}, but must be uint8 or float32."
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
        elif isinstance(self.values, np.ndarray):
            size = self.values.itemsize
            if any(stride < 0 or stride % size for stride in self.values.strides):
                object.__setattr__(self, "values", np.ascontiguousarray(self.values))
        n = len(self)
        for name, array, kind, wanted in (
            ("labels", self.labels, np.int64, (n,)),
            ("ids", self.ids, np.str_, (n,)),
            ("mask of missing values", self.missing, np.bool_, shape),
            ("conditions", self.conditions, np.float32, (n, len(self.condition_columns or ()))),
        ):
            if array is not None and (array.shape != wanted or array.dtype.type != kind):
                raise HebaeError(
                    f"The {name} of {n} examples must be {kind.__name__} of shape {wanted}, not "
                    f"{array.dtype} of shape {array.shape}."
                )
        for name, listed in (
            ("feature names", self.feature_names),
            ("columns", self.columns),
        ):
            if listed is not None and len(listed) != shape[1]:
                raise HebaeError(
                    f"There are {len(listed)} {name} for {shape[1]} features: give one per feature."
                )
        if self.pixels and self.values.dtype != np.uint8:
            raise HebaeError(
                f"pixels=True means uint8 grey levels, but the examples are {self.values.dtype}."
            )

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def __getitem__(self, index: slice | np.ndarray) -> Examples:
        """Select examples; a forward slice of dense examples shares memory."""
        return self.take(index, select(self.values, index))

    def take(self, index: slice | np.ndarray, values: Any) -> Examples:
        """Return the examples at `index`, given their `values`."""
        labels, ids, conditions = (
            None if array is None else array[index]
            for array in (self.labels, self.ids, self.conditions)
        )
        missing = None if self.missing is None else select(self.missing, index)
        pixels = self.are_pixels if self.values.dtype == np.uint8 else self.pixels
        return replace(
            self,
            values=values,
            labels=labels,
            ids=ids,
            missing=missing,
            pixels=pixels,
            conditions=conditions,
        )

    @property
    def is_sparse(self) -> bool:
        """Whether `values` is a SciPy sparse array."""
        return hasattr(self.values, "tocsr")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width) or (features,)."""
        return tuple(self.values.shape[1:])

    @cached_property
    def are_pixels(self) -> bool:
        """Whether the values are grey levels from 0 (black) to 255 (white)."""
        if self.pixels is not None or self.values.dtype != np.uint8:
            return bool(self.pixels)
        parts = [self.values.data] if self.is_sparse else blocks(self.values)
        return any(int(part.max(initial=0)) > _LARGEST_SMALL for part in parts)

    @cached_property
    def seen(self) -> Seen:
        """What a model that is trained on these examples has seen."""
        whole = self.pixels is False or self.values.dtype == np.uint8
        kind: Any = "grey levels" if self.are_pixels else "whole numbers" if whole else "numbers"
        conditions = None
        if self.conditions is not None and self.condition_columns is not None:
            conditions = Conditions.learn(self.conditions, self.condition_columns)
        variants = None if self.variants is None else self.variants.texts
        return Seen(kind, self.feature_names, self.columns, conditions, variants)

    def rows(self, index: slice | np.ndarray) -> np.ndarray:
        """Return examples as a model takes them: dense, grey levels as uint8, NaN if missing."""
        values = as_dense(self.values[index])
        if self.missing is not None:
            missing = as_dense(self.missing[index])
            if missing.any():
                values = values.astype(np.float32)
                if self.are_pixels:
                    values /= 255
                values[missing] = np.nan
        return values

    def parts(self, size: int | None = None) -> Iterator[np.ndarray]:
        """Yield all examples as `rows` does, `size` at a time [default: about 16 MiB]."""
        size = size or max(1, _BLOCK_BYTES // max(1, 4 * math.prod(self.shape)))
        for start in range(0, len(self), size):
            yield self.rows(slice(start, start + size))

    def first_with(self, name: str, holds: Callable[[Summary], bool]) -> tuple[str, Examples]:
        """Return name and examples of the first part whose summary `holds`, for messages.

        `name` is that of all examples, which are one part here.
        """
        return name, self

    @property
    def array(self) -> Any:
        """All examples as `rows` gives them; `values` itself where that is the same."""
        return self.values if self.missing is None else self.rows(slice(None))

    @cached_property
    def summary(self) -> Summary:
        """Range and kind of the observed numbers; that of grey levels is [0, 1], unread."""
        if self.are_pixels and self.missing is None:
            cells = math.prod(self.values.shape)
            return Summary(0.0, 1.0, whole=False, missing=0, zeros=0, observed=cells)
        if not self.is_sparse or self.missing is not None:
            return summarise(self.parts(), pixels=self.are_pixels)
        found = summarise(blocks(self.values.data), pixels=self.are_pixels)
        cells = math.prod(self.values.shape)
        if cells > self.values.nnz:
            found = found._replace(low=min(found.low, 0.0), high=max(found.high, 0.0))
        return found._replace(zeros=found.zeros + cells - self.values.nnz, observed=cells)

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest observed value as a model sees them."""
        return self.summary.low, self.summary.high


def select(values: Any, index: slice | np.ndarray) -> Any:
    """Return the rows of an array, or of `LazyRows` without reading them.

    Many rows of a memory map are copied block by block, so that not all of it is in memory.
    """
    if hasattr(values, "select"):
        return values.select(index)
    is_map = isinstance(values, np.ndarray) and map_of(values) is not None
    if isinstance(index, slice) or not is_map or index.dtype == bool:
        return values[index]
    copied = np.empty((len(index), *values.shape[1:]), values.dtype)
    size = max(1, rows_per_block(values) // 16)  # few rows may be spread over much of the map
    for start in range(0, len(index), size):
        copied[start : start + size] = values[index[start : start + size]]
        release(values)
    return copied


def map_of(values: np.ndarray) -> np.memmap | None:
    """Return the whole memory map that an array is a view of, if it is one."""
    array = values
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array if isinstance(array.base, mmap.mmap) and isinstance(array, np.memmap) else None


def release(values: np.ndarray) -> None:
    """Free the memory of what was read of a memory map; it is read again when it is needed."""
    whole = map_of(values)
    if whole is not None and whole.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        pages: mmap.mmap = whole.base  # type: ignore[assignment]
        pages.madvise(mmap.MADV_DONTNEED)


def as_dense(rows: Any) -> np.ndarray:
    """Return rows of a sparse array as a dense one; others as they are."""
    dense: np.ndarray = rows.toarray() if hasattr(rows, "toarray") else rows
    return dense


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of one data set.

    Parameters
    ----------
    name : str
    train, validation, test : Examples
        All of one shape and type; `validation` and `test` may be None.
    fingerprint : str
        SHA-256 (hexadecimal) of the source's content, equal on all machines. It does not depend on
        how validation examples are set aside.
    notes : tuple of str
        Sentences for the user, such as how validation examples were set aside.
    original : Dataset, optional
        The grey values from which binary values were drawn.
    redrawn : bool
        Whether training draws binary values from `original` again in each epoch.

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
            if examples.values.dtype == np.uint8 and examples.pixels is None:
                # What training sees decides for all: another split may hold small numbers alone.
                part = replace(examples, pixels=self.train.are_pixels)
                object.__setattr__(self, split, part)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width) or (features,)."""
        return self.train.shape

    @property
    def pictures(self) -> Dataset:
        """Data that images E[x | z] are compared with: the grey originals of binary data."""
        return self.original or self

    @property
    def variants(self) -> Variants | None:
        """What the features of genotypes are."""
        return self.train.variants

    def held_out(self) -> tuple[str, Examples] | None:
        """Return name and examples of the validation split, else of the test split, else None."""
        if self.validation is not None:
            return "validation", self.validation
        if self.test is not None:
            return "test", self.test
        return None


def blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows, about 16 MiB at a time, so that a memory map is never read as a whole."""
    rows = rows_per_block(values)
    for start in range(0, len(values), rows):
        yield values[start : start + rows]
        release(values)


def rows_per_block(values: np.ndarray) -> int:
    """Return the number of rows of about 16 MiB."""
    return max(1, _BLOCK_BYTES // max(1, values[:1].nbytes))


def fingerprint(splits: Mapping[str, Examples | None]) -> str:
    """Return the SHA-256 of the names, types, shapes and values of splits, labels and masks."""
    digest = hashlib.sha256()
    for split, examples in splits.items():
        if examples is None:
            continue
        values: Any = examples.values
        parts = [values.indptr, values.indices, values.data] if examples.is_sparse else [values]
        for array in (*parts, examples.labels, examples.missing, examples.conditions):
            if array is not None:
                digest.update(f"{split} {array.dtype.str} {array.shape}\n".encode())
                for block in blocks(array):
                    digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()
