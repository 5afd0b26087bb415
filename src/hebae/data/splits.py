"""How validation examples are set aside from training examples."""

from __future__ import annotations

import operator
from dataclasses import replace

import numpy as np

from hebae.data.examples import Dataset
from hebae.data.split_files import LARGE, split_on_disk
from hebae.errors import HebaeError

_FEWEST_TO_SPLIT = 10


def validation_count(
    name: str, available: int, requested: int | None, *, has_validation: bool, has_test: bool
) -> int:
    """Return how many training examples to set aside for validation.

    Parameters
    ----------
    name : str
        The data, as messages call it.
    available : int
        Number of training examples.
    requested : int or None
        None leaves a source with a validation or test split as it is, and otherwise sets aside a
        tenth, unless there are fewer than 10 examples.
    has_validation, has_test : bool
        Which splits the source has of its own.

    Raises
    ------
    HebaeError
        If `requested` is negative, no whole number, leaves no training example, or competes with
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
            f"validation_size is a whole number of examples, not {requested!r}."
        ) from None
    if not 0 <= requested < available:
        raise HebaeError(
            f"validation_size is {requested}, but {name} has {available:,} training examples: "
            f"choose a number from 0 to {available - 1}."
        )
    if requested and has_validation:
        raise HebaeError(
            f"{name} has a validation split of its own, so validation_size={requested} cannot be "
            "met: leave it out to use that split, or give 0 to use none."
        )
    return requested


def draw(available: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` of `available` positions with a fixed permutation.

    Files are often sorted by class, so neither end would be a fair sample.

    Returns
    -------
    kept, drawn : ndarray of int
        Disjoint, together complete, each in rising order.
    """
    order = np.random.default_rng(0).permutation(available)
    return np.sort(order[count:]), np.sort(order[:count])


def hold_out_note(available: int, count: int, *, last: bool = False) -> str:
    """Tell the user what was set aside, and how."""
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
        0 asks for no validation split; None is explained at `validation_count`.
    last : bool
        Take the last examples (which copies nothing) and not a fixed random draw, which copies
        memory-mapped values into memory or, from 2 GiB on, into files of the cache.
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
    if last:
        kept, drawn = dataset.train[: available - count], dataset.train[available - count :]
    elif isinstance(dataset.train.values, np.memmap) and dataset.train.values.nbytes >= LARGE:
        _, positions = draw(available, count)
        kept, drawn = split_on_disk(dataset.train, positions, dataset.fingerprint)
    else:
        kept, drawn = (dataset.train[positions] for positions in draw(available, count))
    note = hold_out_note(available, count, last=last)
    return replace(dataset, train=kept, validation=drawn, notes=(*dataset.notes, note))
