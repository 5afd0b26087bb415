"""The progress of many trainings: one changing line on a terminal, one line per run in a file."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from hebae.cli.progress import RunsProgress
from hebae.training.many import Result


def result(label, state, message=""):
    job: Any = SimpleNamespace(label=label, path=Path(label))
    return Result(job, state, message)


def reported_to(console):
    """Three runs of 100 steps wait, one is done; one diverges at its 40th step, one is stopped."""
    progress = RunsProgress(console)
    progress.on_start([result("first", "finished")], 3, 300)
    progress.on_steps(100)
    progress.on_result(result("second", "finished"))
    progress.on_steps(40)
    progress.on_spared(60)
    progress.on_result(result("third[1]", "diverged", "too far"))
    progress.on_steps(10)
    progress.on_result(result("fourth", "interrupted"))
    progress.on_end()
    return progress


def test_a_file_gets_one_line_per_run():
    file = StringIO()
    reported_to(Console(file=file, width=40))
    second, third = file.getvalue().splitlines()
    assert second.startswith("2 of 4 runs, 2 left")
    assert second.endswith(": second")
    assert third.startswith("3 of 4 runs, 1 left")
    assert third.endswith(": third[1] diverged: too far")


def test_a_terminal_gets_a_line_that_fits_and_what_diverged():
    file = StringIO()
    progress = reported_to(Console(file=file, force_terminal=True, width=80, color_system=None))
    text = file.getvalue()
    assert "third[1] diverged: too far" in text
    assert "3 of 4 runs, 1 left" in text
    assert "second" not in text
    task = progress.progress.tasks[0]
    assert (task.completed, task.total) == (150, 240)
