"""A ``DataLoader`` of the user's own: a look at all of its batches, and batches to train on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hebae.data.arrays import batch_name, from_batch
from hebae.data.examples import Examples
from hebae.data.schema import NOTHING, Summary, summarise
from hebae.data.writing import joined
from hebae.errors import HebaeError
from hebae.model import to_floats
from hebae.training.batches import Batch
from hebae.training.randomness import NetworkRandomState, epoch_seed

EMPTY = "the DataLoader gives no batch; give one with examples."

Named = tuple[str, Examples]
"""Examples of a batch, and its name in messages."""


def read(
    loader: Any,
    pixels: bool | None,
    random_state: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Named]:
    """Pass once over a loader, which is asked for its batches within ``with random_state():``.

    `pixels` says whether uint8 are grey levels, where that is known. Raises a HebaeError that names
    the batch if one cannot be made or used.
    """
    with random_state():
        iterator = iter(loader)
    for number in count(1):
        try:
            with random_state():
                batch = next(iterator)
        except StopIteration:
            return
        except (RuntimeError, TypeError) as error:  # such as of items that cannot be stacked
            *_, reason = str(error).strip().splitlines() or [type(error).__name__]
            raise HebaeError(
                f"{batch_name(number)} could not be made ({reason.rstrip('.')}): all items must "
                "have the same type and shape, and the data set must return each of them."
            ) from error
        yield batch_name(number), from_batch(batch, number, pixels)


def whole(loader: Any, pixels: bool | None) -> Examples:
    """Read all batches of a loader into memory."""
    parts = list(read(loader, pixels))
    for name, examples in parts:
        require_form(examples, name, parts[0][1])
    if not parts:
        raise HebaeError(EMPTY)
    return joined([examples for _, examples in parts])


def _of_seed(seed: int) -> NetworkRandomState:
    return NetworkRandomState(seed, torch.device("cpu"))


def require_form(examples: Examples, name: str, first: Examples) -> None:
    """Refuse a batch of another type or shape than the first one."""
    given, expected = (
        f"type {'whole numbers' if part.pixels is False else part.values.dtype} and shape "
        f"{part.shape}"
        for part in (examples, first)
    )
    if examples.values.dtype == first.values.dtype == np.uint8:
        given, expected = f"shape {examples.shape}", f"shape {first.shape}"
    if given != expected:
        raise HebaeError(
            f"{name} holds examples of {given}, but the first batch holds {expected}; all "
            "batches must have the same type and shape."
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class LoaderExamples(Examples):
    """What follows from all batches of a DataLoader; `values` are those of the first.

    Parameters
    ----------
    summary_of_all : Summary
    again : callable
        Passes over the batches once more.
    extremes : tuple of Named
        The batches with the smallest and the largest number, and the first with a fraction.
    """

    summary_of_all: Summary
    again: Callable[[], Iterator[Named]]
    extremes: tuple[Named, ...]

    @classmethod
    def of(cls, loader: Any, pixels: bool | None) -> LoaderExamples:
        """Pass once over a loader; `pixels` as for `Examples`.

        Raises
        ------
        HebaeError
            If there is no batch, or one is not like the first.
        """
        first: Examples | None = None
        lowest: list[Named] = []
        highest: list[Named] = []
        fraction: list[Named] = []
        total, grey = NOTHING, bool(pixels)
        for name, examples in read(loader, pixels, _of_seed(0)):
            first = first or examples
            require_form(examples, name, first)
            grey = grey or examples.are_pixels
            found = summarise([examples.values])
            lowest = [(name, examples)] if found.low < total.low else lowest
            highest = [(name, examples)] if found.high > total.high else highest
            if total.whole and not found.whole:
                fraction = [(name, examples)]
            total = total.merged(found)
        if first is None:
            raise HebaeError(EMPTY)
        pixels = grey if first.values.dtype == np.uint8 else first.pixels
        if grey:
            total = Examples(first.values, pixels=True).summary._replace(observed=total.observed)
        return cls(
            first.values,
            pixels=pixels,
            summary_of_all=total,
            again=lambda: read(loader, pixels, _of_seed(0)),
            extremes=tuple(
                (name, replace(part, pixels=pixels)) for name, part in lowest + highest + fraction
            ),
        )

    @cached_property
    def summary(self) -> Summary:
        """See `Examples`; of all batches."""
        return self.summary_of_all

    def parts(self, size: int | None = None) -> Iterator[np.ndarray]:
        """See `Examples`; of all batches."""
        for _, examples in self.again():
            yield from examples.parts(size)

    def first_with(self, name: str, holds: Callable[[Summary], bool]) -> Named:
        """See `Examples`; a batch is a part."""
        return next((part for part in self.extremes if holds(part[1].summary)), (name, self))


class LoaderBatches:
    """Batches of a user's own ``torch.utils.data.DataLoader``, each checked when it comes.

    It decides order and batch size; `hebae.data.arrays.from_batch` says what a batch is. What the
    loader draws from torch's global generator depends on `seed` and epoch alone.

    Parameters
    ----------
    loader : DataLoader
    like : Examples, optional
        Those of the first batch, to whose shape and type others are held.
    check : callable, optional
        Called with the examples of each batch and its name; raises a HebaeError if the model does
        not take them.
    smallest : int
        Examples that a batch needs. A smaller last batch joins the one before it.
    drop_below : int
        Leave out batches of fewer examples.
    seed, device, dtype
        As for `ArrayBatches`.
    """

    def __init__(
        self,
        loader: Any,
        *,
        like: Examples | None = None,
        check: Callable[[Examples, str], object] = lambda examples, name: None,
        smallest: int = 1,
        drop_below: int = 1,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.loader = loader
        self.like = like
        self.check = check
        self.smallest = smallest
        self.drop_below = drop_below
        self.seed = seed
        self.device = torch.device(device)
        self.dtype = dtype
        try:
            self.steps_per_epoch: int | None = len(loader)
        except TypeError:  # an iterable data set has no length
            self.steps_per_epoch = None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See `Batches`."""
        return map(Batch, islice(self._large_enough(self._checked(epoch)), start, None))

    def _checked(self, epoch: int) -> Iterator[tuple[str, Tensor]]:
        """Give name and examples of each batch."""
        pixels = True if self.like is None else self.like.seen.pixels
        random_state = _of_seed(epoch_seed(self.seed, epoch))
        for name, examples in read(self.loader, pixels, random_state):
            if self.like is not None:
                require_form(examples, name, self.like)
            self.check(examples, name)
            if len(examples) < self.drop_below:
                continue
            x = torch.from_numpy(np.ascontiguousarray(examples.array))
            x = x.to(self.device, non_blocking=True)
            yield name, to_floats(x, self.dtype, pixels=examples.are_pixels)

    def _large_enough(self, batches: Iterator[tuple[str, Tensor]]) -> Iterator[Tensor]:
        """Join a last batch that is too small to the one before, which waits for it."""
        waiting: Tensor | None = None
        small: tuple[str, int] | None = None
        for name, x in batches:
            if small is None and len(x) < self.smallest:
                small = name, len(x)
                waiting = x if waiting is None else torch.cat([waiting, x])
                continue
            if small is not None:
                self._refuse(*small)
            if waiting is not None:
                yield waiting
            waiting = x
        if waiting is not None:
            if small is not None and len(waiting) < self.smallest:
                self._refuse(*small)
            yield waiting

    def _refuse(self, name: str, size: int) -> None:
        raise HebaeError(
            f"{name} has {size} example(s), but the method and networks need {self.smallest} in "
            "each but the last batch: give the DataLoader a larger batch_size."
        )

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """See `Batches`; in the loader's own order and batches, the first `limit` or a few more."""
        taken = 0
        for batch in self.epoch(0):
            yield batch
            taken += len(batch.x)
            if taken >= (limit or math.inf):
                return
