"""Progress of many trainings on the console; imports torch, so the commands import it late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.status import Status

from hebae.cli.app import say
from hebae.training.many import Result, Watcher

SPEED_OVER = 600.0
"""Seconds over which the speed is averaged, since runs of several sizes alternate."""


class RunsProgress(Watcher):
    """Shows runs done, runs left and the remaining time; in a log file, one line per run.

    Parameters
    ----------
    console : Console
    status : Status, optional
        Shows what happens before and after the trainings; it is paused during them.
    """

    def __init__(self, console: Console, status: Status | None = None) -> None:
        self.console = console
        self.status = status
        self.done = self.total = 0
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("to go:"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=2,
            speed_estimate_period=SPEED_OVER,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task("", start=False, total=None)

    def on_start(self, results: Sequence[Result], waiting: int, steps: int) -> None:
        """See `Watcher`."""
        if self.status is not None:  # a terminal has room for one live display
            self.status.stop()
        self.done, self.total = len(results), len(results) + waiting
        self.progress.start()
        self.progress.update(self.task, description=self._state(), total=steps)
        self.progress.start_task(self.task)

    def on_steps(self, count: int) -> None:
        """See `Watcher`."""
        self.progress.advance(self.task, count)

    def on_spared(self, count: int) -> None:
        """See `Watcher`."""
        task = self.progress.tasks[self.task]
        if task.total is not None:
            task.total -= count  # `update` would forget the speed

    def on_result(self, result: Result) -> None:
        """See `Watcher`."""
        if result.state == "interrupted":
            return
        self.done += 1
        self.progress.update(self.task, description=self._state())
        diverged = result.state == "diverged"
        if diverged or not self.console.is_terminal:
            position = "" if self.console.is_terminal else f"{self._state()}{self._to_go()}: "
            reason = f" diverged: {result.message}" if diverged else ""
            style = "yellow" if diverged else None
            say(position + result.job.label + reason, self.console, style)

    def on_end(self) -> None:
        """See `Watcher`."""
        self.progress.stop()
        if self.status is not None:
            self.status.start()

    def _state(self) -> str:
        return f"{self.done} of {self.total} runs, {self.total - self.done} left"

    def _to_go(self) -> str:
        seconds = self.progress.tasks[self.task].time_remaining
        return "" if seconds is None else f", {timedelta(seconds=int(seconds))} to go"
