"""Apply a function to many items in threads, in order and with bounded memory."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return the number of cores this process may use; 1 if it may not start processes."""
    if multiprocessing.current_process().daemon:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    ahead: int | None = None,
) -> Generator[Result]:
    """Apply a function to items in threads, `ahead` items (by default 2 per thread) in advance.

    For functions that mostly run without Python's global lock, such as Pillow's decoding and
    NumPy's copying. Closing the generator waits for the running calls and cancels the others. What
    `function` or `items` raise comes at the place of its item. The caller's thread reads `items`.
    """
    ahead = 2 * workers if ahead is None else ahead
    pool = ThreadPoolExecutor(workers, thread_name_prefix="hebae")
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
