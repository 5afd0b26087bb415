"""How validation examples are set aside from training examples."""

from __future__ import annotations

import hashlib
import operator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hebae.data.cache import cached_folder
from hebae.data.examples import Dataset, Examples, blocks
from hebae.errors import HebaeError

LARGE = 2 * 2**30
"""Bytes from which memory-mapped examples are split on disk; any machine has so much memory."""
_FEWEST_TO_SPLIT = 10
_NAMES = ("kept.npy", "drawn.npy")


def validation_count(
    name: str, available: int, requested: int | None, *, has_validation: bool, has_test: bool
) -> int:
    """Return how many training examples to set aside for validation.

    Parameters
    ----------
    name : str
        Name of the data in messages.
    available : int
        Number of training examples.
    requested : int or None
        None: a tenth of a source that has no validation or test split and at least 10 examples,
        otherwise none.
    has_validation, has_test : bool
        Which splits the source has of its own.

    Raises
    ------
    HebaeError
        If `requested` is negative, not an integer, leaves no training example, or conflicts with
        the source's own validation split.
    """
    if requested is None:
        if has_validation or has_test or available < _FEWEST_TO_SPLIT:
            return 0
        return available // 10
    try:
        requested = operator.index(requested)
    except TypeError:
        raise HebaeError(
            f"validation_size is {requested!r}, but must be a whole number of examples."
        ) from None
    if not 0 <= requested < available:
        raise HebaeError(
            f"validation_size is {requested}, but {name} has {available:,} training examples: "
            f"choose a number from 0 to {available - 1}."
        )
    if requested and has_validation:
        raise HebaeError(
            f"validation_size is {requested}, but {name} has a validation split of its own: leave "
            "validation_size out to use that split, or give 0 to use none."
        )
    return requested


def draw(available: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` of `available` positions with a fixed permutation.

    Files are often sorted by class, so that neither end would be a fair sample.

    Returns
    -------
    kept, drawn : ndarray of int
        Disjoint, together complete, each sorted.
    """
    order = np.random.default_rng(0).permutation(available)
    return np.sort(order[count:]), np.sort(order[:count])


def hold_out_note(available: int, count: int, *, last: bool = False) -> str:
    """Return the sentence that tells the user which examples were set aside."""
    how = f"the last {count:,}" if last else f"{count:,} drawn with a fixed permutation"
    return f"Of the {available:,} training examples, {how} were set aside for validation."


def hold_out(
    dataset: Dataset, validation_size: int | None = None, *, last: bool = False
) -> Dataset:
    """Set validation examples aside from the training examples of a data set.

    Parameters
    ----------
    dataset : Dataset
    validation_size : int, optional
        0: no validation split; for None see `validation_count`.
    last : bool
        Take the last examples, which copies nothing. Otherwise they are drawn, which copies
        memory-mapped values into memory or, from 2 GiB on, into files in the cache.
    """
    available = len(dataset.train)
    count = validation_count(
        dataset.name,
        available,
        validation_size,
        has_validation=dataset.validation is not None,
        has_test=dataset.test is not None,
    )
    if validation_size == 0:
        return replace(dataset, validation=None)
    if count == 0:
        return dataset
    values = dataset.train.values
    if last:
        kept, drawn = dataset.train[: available - count], dataset.train[available - count :]
    elif isinstance(values, np.memmap) and values.nbytes >= LARGE:
        kept, drawn = split_on_disk(dataset.train, draw(available, count), dataset.fingerprint)
    else:
        kept, drawn = (dataset.train[positions] for positions in draw(available, count))
    note = hold_out_note(available, count, last=last)
    return replace(dataset, train=kept, validation=drawn, notes=(*dataset.notes, note))


def split_on_disk(
    examples: Examples,
    positions: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    fingerprint: str,
) -> tuple[Examples, Examples]:
    """Write kept and drawn examples into files in the cache, and memory-map those.

    The first call reads the examples twice, in order, and needs as much disk space as they do;
    later calls open the files.

    Parameters
    ----------
    examples : Examples
    positions : pair of ndarray of int
        Of the kept and of the drawn examples, each sorted.
    fingerprint : str
        Of the data set that the examples belong to.
    """
    is_drawn = np.zeros(len(examples), bool)
    is_drawn[positions[1]] = True
    key = hashlib.sha256(fingerprint.encode() + np.packbits(is_drawn).tobytes()).hexdigest()
    build = partial(_write_parts, values=examples.values, is_drawn=is_drawn)
    folder = cached_folder(f"splits/{key[:32]}", build)
    kept, drawn = (
        examples.take(index, np.load(folder / name, mmap_mode="r"))
        for name, index in zip(_NAMES, positions, strict=True)
    )
    return kept, drawn


def _write_parts(folder: Path, values: np.ndarray, is_drawn: npt.NDArray[np.bool_]) -> None:
    for name, chosen in zip(_NAMES, (~is_drawn, is_drawn), strict=True):
        with (folder / name).open("wb") as file:
            shape = (int(chosen.sum()), *values.shape[1:])
            header = {"descr": values.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start = 0
            for block in blocks(values):
                file.write(block[chosen[start : start + len(block)]].tobytes())
                start += len(block)
