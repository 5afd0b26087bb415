"""Signals that stop a training: Ctrl-C, SIGTERM (schedulers) and SIGHUP (a closed terminal)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

SIGNALS = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):  # not on Windows
    SIGNALS.append(signal.SIGHUP)

SAME_PRESS = 0.3
"""Seconds within which a second Ctrl-C is the first one, which reached the process on two ways."""

Result = TypeVar("Result")

_last: int = signal.SIGINT


@contextmanager
def handlers_kept() -> Iterator[dict[signal.Signals, Any]]:
    """Put the handlers of the signals back after the block, and give them; none in other threads.

    Signals belong to the main thread. A handler that was not set from Python is left alone.
    """
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {kind: signal.getsignal(kind) for kind in SIGNALS}
    handlers = {kind: handler for kind, handler in handlers.items() if handler is not None}
    try:
        yield handlers
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP leave the block as Ctrl-C does, so that nothing stays half-written."""
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # one that was forked ends as it would without this
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise Ended(number)

    with handlers_kept() as handlers:
        for kind, handler in handlers.items():
            if handler is signal.SIG_DFL:
                signal.signal(kind, end)
        yield


def exit_status() -> int:
    """Exit status after the last training that was stopped: 130, or 143 (SIGTERM), 129 (SIGHUP)."""
    return 128 + _last


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP came where nothing has to be saved; see `ended_by_signals`."""

    def __init__(self, number: int) -> None:
        super().__init__("Interrupted.")
        self.number = number


class _Stopped(BaseException):
    """A signal came during work that need not be finished; see `Interrupt.unless_stopped`."""


class Interrupt:
    """Lets a signal wait until the training can be saved; see `deferred`.

    Attributes
    ----------
    number : int
        The signal that stops the training, the same for all of its processes; 0 if there is none.
    """

    def __init__(self, processes: int = 1) -> None:
        self.number = 0
        self._received = 0
        self._since = 0.0
        self._at_once = False
        self._group = None
        if processes > 1:  # on the host, so that no step waits for a GPU
            import torch

            self._group = torch.distributed.new_group(backend="gloo")

    def agreed(self) -> bool:
        """Whether to stop now. Several processes call it at the same points and decide together."""
        if self._group is None:
            self.number = self._received
        else:
            import torch

            highest = torch.tensor(self._received)
            torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX, group=self._group)
            self.number = int(highest)
        return self.number != 0

    def unless_stopped(self, work: Callable[[], Result]) -> Result | None:
        """Do work that changes nothing that is saved; a signal ends it where it is (None)."""
        try:
            self._at_once = True
            try:
                return None if self._received else work()
            finally:
                self._at_once = False
        except _Stopped:
            return None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        global _last
        now = time.monotonic()
        if not self._received:
            self._received = _last = number
            self._since = now
            if self._at_once:
                raise _Stopped
        elif number == signal.SIGINT and now - self._since > SAME_PRESS:
            raise KeyboardInterrupt("Stopped at once. The last checkpoint is kept: use --resume.")


@contextmanager
def deferred(processes: int = 1) -> Iterator[Interrupt]:
    """Let the first signal wait for the end of a step; a second Ctrl-C acts at once.

    Signals belong to the main thread: in others nothing changes. SIGHUP stays ignored where it is,
    as under nohup.
    """
    interrupt = Interrupt(processes)
    with handlers_kept() as handlers:
        for kind, handler in handlers.items():
            if kind == signal.SIGINT or handler is not signal.SIG_IGN:
                signal.signal(kind, interrupt._receive)
        yield interrupt
