"""What follows a training: the contract, and the progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Callback:
    """Follows a training; methods that are not overridden do nothing."""

    def on_start(self, step: int, total: int | None) -> None:
        """Training starts, or resumes, at `step` of `total`."""

    def on_log(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        """Every ``log_every`` steps: means of the terms over the epoch so far."""

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """At the end of an epoch: the record that goes into ``metrics.jsonl``."""

    def on_end(self) -> None:
        """Training is over, for whatever reason."""


class ProgressBar(Callback):
    """A line with a bar, the epoch and the terms of the loss."""

    def __init__(self, label: str, epochs: int, console: Console) -> None:
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[epoch]}/" + str(epochs)),
            TextColumn("{task.fields[terms]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
            refresh_per_second=4,
        )
        self.task = self.progress.add_task(label, start=False, total=None, epoch=0, terms="")

    def on_start(self, step: int, total: int | None) -> None:
        """See `Callback`."""
        self.progress.update(self.task, total=total, completed=step)
        self.progress.start()
        self.progress.start_task(self.task)

    def on_log(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        """See `Callback`."""
        terms = "  ".join(f"{name} {value:.2f}" for name, value in means.items())
        self.progress.update(self.task, completed=step, epoch=epoch, terms=terms)

    def on_end(self) -> None:
        """See `Callback`."""
        self.progress.stop()
