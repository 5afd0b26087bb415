"""Apply a function to many items in processes or threads, in order and with bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import types
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from hebae.errors import HebaeError

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return the number of cores this process may use; 1 if it may not start processes."""
    if multiprocessing.current_process().daemon:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result]:
    """Apply a picklable function to items in processes, a few items ahead.

    Raises
    ------
    HebaeError
        If a worker process dies; and whatever `function` raises.
    """
    if workers < 2:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        # This process handles Ctrl-C.
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    with _main_module_hidden():
        try:
            yield from _in_order(pool, function, items, ahead=2 * workers)
        except BrokenProcessPool as error:
            raise HebaeError(
                "A worker process died, possibly because memory ran out: free some and try again."
            ) from error


def map_in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    ahead: int | None = None,
) -> Generator[Result]:
    """Apply a function to items in threads, a few items ahead.

    For functions that mostly run without Python's global lock, such as Pillow's decoding and
    NumPy's copying. Closing the generator waits for the running calls and cancels the others. What
    `function` or `items` raise comes at the place of its item.

    Parameters
    ----------
    function : callable
    items : iterable
        Iterated in the caller's thread.
    workers : int
        Number of threads.
    ahead : int, optional
        Number of results computed in advance; twice the number of threads by default.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="hebae")
    yield from _in_order(pool, function, items, 2 * workers if ahead is None else ahead)


def _in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Generator[Result]:
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Prevent the workers from running the user's script again.

    A spawned process first imports the main module, which would start the same work again in a
    script without `if __name__ == "__main__":`.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
