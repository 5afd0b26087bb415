"""How validation examples are set aside from training examples."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hebae.data.cache import cached_folder
from hebae.data.examples import Dataset, Examples, blocks
from hebae.errors import HebaeError

_FEWEST_TO_SPLIT = 10
_NAMES = ("kept.npy", "drawn.npy")


def hold_out(
    dataset: Dataset,
    validation_size: int | None = None,
    *,
    last: bool = False,
    on_disk_from: int = 2 * 2**30,
) -> Dataset:
    """Set validation examples aside from the training examples.

    By default they are a tenth if there is no validation or test split and there are at least 10
    training examples, otherwise none. With a `validation_size` of 0 there is no validation split.

    Taking the `last` examples copies nothing. Otherwise a fixed permutation draws them: files are
    often sorted by class, so neither end would be a fair sample. Drawing copies memory-mapped
    values into memory or, if they have at least `on_disk_from` bytes, into files in the cache.
    """
    train, name = dataset.train, dataset.name
    available, requested = len(train), validation_size
    if requested is None:
        splittable = available >= _FEWEST_TO_SPLIT and dataset.held_out() is None
        requested = available // 10 if splittable else 0
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
    if dataset.validation is not None and requested == len(dataset.validation):
        return dataset  # its own split, as in a preset for data with and without one
    if requested and dataset.validation is not None:
        raise HebaeError(
            f"validation_size is {requested}, but {name} has a validation split of its own: leave "
            "validation_size out to use that split, or give 0 to use none."
        )
    if requested == 0:
        return dataset if validation_size is None else replace(dataset, validation=None)
    if last:
        how = f"the last {requested:,}"
        kept, drawn = train[:-requested], train[-requested:]
    else:
        how = f"{requested:,} drawn with a fixed permutation"
        order = np.random.default_rng(0).permutation(available)
        positions = np.sort(order[requested:]), np.sort(order[:requested])
        if isinstance(train.values, np.memmap) and train.values.nbytes >= on_disk_from:
            kept, drawn = _split_on_disk(train, positions, dataset.fingerprint)
        else:
            kept, drawn = (train[index] for index in positions)
    note = f"Of the {available:,} training examples, {how} were set aside for validation."
    return replace(dataset, train=kept, validation=drawn, notes=(*dataset.notes, note))


def limit(dataset: Dataset, train_size: int | None) -> Dataset:
    """Keep `train_size` training examples, a fixed random draw; all by default."""
    if train_size is None:
        return dataset
    available = len(dataset.train)
    if not 1 <= train_size <= available:
        raise HebaeError(
            f"train_size is {train_size}, but {dataset.name} has {available:,} training examples "
            f"(without those for validation): choose a number from 1 to {available}."
        )
    rows = np.sort(np.random.default_rng(0).permutation(available)[:train_size])
    note = f"Of the {available:,} training examples, {train_size:,} are used."
    return replace(dataset, train=dataset.train[rows], notes=(*dataset.notes, note))


def _split_on_disk(
    examples: Examples, positions: Sequence[np.ndarray], fingerprint: str
) -> tuple[Examples, Examples]:
    """Write the examples at two sets of positions into files in the cache, and memory-map those.

    The first call reads the examples twice, in order; later calls open the files.
    """
    is_drawn = np.zeros(len(examples), bool)
    is_drawn[positions[1]] = True
    values = examples.values

    def build(folder: Path) -> None:
        for name, chosen in zip(_NAMES, (~is_drawn, is_drawn), strict=True):
            write_rows(folder / name, values, chosen)

    key = hashlib.sha256(fingerprint.encode() + np.packbits(is_drawn).tobytes()).hexdigest()
    folder = cached_folder(f"splits/{key[:32]}", build)
    kept, drawn = (
        examples.take(index, np.load(folder / name, mmap_mode="r"))
        for name, index in zip(_NAMES, positions, strict=True)
    )
    return kept, drawn


def write_rows(path: Path, values: np.ndarray, chosen: np.ndarray) -> None:
    """Write the rows of a memory map where `chosen` is True into a .npy file, in blocks."""
    with path.open("wb") as file:
        write_header(file, (int(chosen.sum()), *values.shape[1:]), values.dtype)
        start = 0
        for block in blocks(values):
            file.write(block[chosen[start : start + len(block)]].tobytes())
            start += len(block)


def write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Write the header of a .npy file, whose values follow one by one."""
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
