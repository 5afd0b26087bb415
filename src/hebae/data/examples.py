"""What every source of data gives: splits of examples with their shape, range and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hebae.errors import HebaeError

_BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True, eq=False)
class Examples:
    """One split: examples and, where known, their labels.

    Parameters
    ----------
    values : ndarray, shape (n, channels, height, width) or (n, features)
        uint8 (0..255, standing for [0, 1]) or float32; may be a read-only memory map. Copied only
        if its strides are such as torch cannot read, as those of ``X[::-1]``.
    labels : ndarray of int64, shape (n,), optional

    Raises
    ------
    HebaeError
        If there is no example, or the type or number of dimensions is another.
    """

    values: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse what no model could read, and bring strides into order."""
        if self.values.dtype not in (np.uint8, np.float32):
            raise HebaeError(
                f"Examples are uint8 (0..255) or float32, not {self.values.dtype}: "
                "convert them with .astype first."
            )
        if self.values.ndim not in (2, 4) or self.values.size == 0:
            raise HebaeError(
                "Examples have shape (n, features) or (n, channels, height, width) with nothing "
                f"empty, not {self.values.shape}."
            )
        size = self.values.itemsize
        if any(stride < 0 or stride % size for stride in self.values.strides):
            object.__setattr__(self, "values", np.ascontiguousarray(self.values))
        if self.labels is not None and (
            self.labels.dtype != np.int64 or self.labels.shape != (len(self),)
        ):
            raise HebaeError(
                f"Labels of {len(self)} examples are int64 of shape ({len(self)},), "
                f"not {self.labels.dtype} of shape {self.labels.shape}."
            )

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.values)

    def __getitem__(self, index: slice | np.ndarray) -> Examples:
        """Select examples: a slice forwards shares memory, an index array copies."""
        return Examples(self.values[index], None if self.labels is None else self.labels[index])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width) or (features,)."""
        return self.values.shape[1:]

    @cached_property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value in the units a model sees: uint8 stands for [0, 1]."""
        if self.values.dtype == np.uint8:
            return 0.0, 1.0
        extremes = [(block.min(), block.max()) for block in blocks(self.values)]
        return float(min(low for low, _ in extremes)), float(max(high for _, high in extremes))


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of one data set.

    Parameters
    ----------
    name : str
    train, validation, test : Examples
        All of one shape and type; `validation` and `test` may be None.
    fingerprint : str
        SHA-256 (hexadecimal) of the source's content, however it is then split; equal between
        calls and machines.
    notes : tuple of str
        Sentences that the user should be told, such as how a held-out split was made.

    Raises
    ------
    HebaeError
        If the splits differ in shape or type.
    """

    name: str
    train: Examples
    validation: Examples | None
    test: Examples | None
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse splits that do not belong together."""
        for split, examples in (("validation", self.validation), ("test", self.test)):
            if examples is None:
                continue
            theirs, ours = (
                f"{part.values.dtype} of shape {part.shape}" for part in (examples, self.train)
            )
            if theirs != ours:
                raise HebaeError(
                    f"{self.name}: an example of the {split} split is {theirs}, but one of the "
                    f"training split is {ours}; make them alike."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width) or (features,)."""
        return self.train.shape

    def held_out(self) -> tuple[str, Examples] | None:
        """Return the split to judge on: validation, else test (with its name), else None."""
        if self.validation is not None:
            return "validation", self.validation
        if self.test is not None:
            return "test", self.test
        return None


def blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Walk over rows, about 16 MiB at a time, so that a memory map is never read in whole."""
    rows = max(1, _BLOCK_BYTES // max(1, values[:1].nbytes))
    for start in range(0, len(values), rows):
        yield values[start : start + rows]


def fingerprint(splits: Mapping[str, Examples | None]) -> str:
    """Return the SHA-256 of the names, types, shapes and bytes of splits and their labels."""
    digest = hashlib.sha256()
    for split, examples in splits.items():
        if examples is None:
            continue
        for array in (examples.values, examples.labels):
            if array is not None:
                digest.update(f"{split} {array.dtype.str} {array.shape}\n".encode())
                for block in blocks(array):
                    digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()
