"""Ctrl-C and SIGTERM wait for the end of a step, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["deferred_interrupt"]


@contextmanager
def deferred_interrupt(processes: int = 1) -> Iterator[threading.Event]:
    """Let Ctrl-C (and SIGTERM) wait for the end of the step; a second one acts at once.

    Signals belong to the main thread; and of several processes, each would stop at a step of its
    own, so they stop at once and go on from their last checkpoint.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread() or processes > 1:
        yield requested
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    previous = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
