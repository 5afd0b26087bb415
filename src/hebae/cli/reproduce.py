"""``hebae reproduce``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from hebae.cli.app import Switch, app, command, say, tell, told

if TYPE_CHECKING:
    from rich.status import Status

    from hebae.training.many import Watcher


@app.command
def reproduce(
    *studies: str,
    budget: Literal["smoke", "small", "full"] = "smoke",
    output: Path | None = None,
    data_dir: Path | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    train_only: Annotated[bool, Switch] = False,
) -> int:
    """Run what the paper ran: its figures, the numbers behind them, and what became of its claims.

    Stopped and started again, the command goes on where it was. Studies share their runs; several
    machines share the work if --output is a folder that all of them see.

    Parameters
    ----------
    studies
        figure1a, figure1b, figure2, figure3, figure4, table, rate, ablations, or all.
    budget
        smoke: mnist-mini and drawn faces, tiny networks, seconds, to see that all works. small:
        MNIST, 12 epochs, and CelebA, a narrowed network, one seed, hours on two cores. full: the
        paper's networks and epochs, five seeds, for a GPU.
    output
        Folder for runs/ and results/ [default: reproduction/BUDGET].
    data_dir
        Folder that holds data files [env: HEBAE_DATA_DIR].
    device
        Where to train.
    train_only
        Train, and leave measuring and drawing to another call, perhaps on another machine.
    """
    from hebae.experiments.reproduction.budgets import BUDGETS
    from hebae.experiments.reproduction.reproduce import reproduce as run
    from hebae.experiments.studies import choose

    chosen = choose(studies)
    output = output or Path("reproduction") / budget
    with told.status("loading") as status:
        pages = run(
            chosen,
            BUDGETS[budget],
            output,
            command=command(),
            data_dir=data_dir,
            device=device,
            train_only=train_only,
            watcher=_watcher(status),
            told=lambda note: tell([note]),
            progress=lambda words: _show(words, status),
        )
    if pages is None:
        say(f"Stopped and saved. Go on with: {shlex.join(['hebae', *sys.argv[1:]])}", told)
        return 130
    for page in pages:
        say(f"What the paper says, what we found: {page}")
    if train_only:
        say(f"Trained: {output / 'runs'}. Measure and draw by the same command, less --train-only.")
    return 0


def _show(words: str, status: Status) -> None:
    """Say what is being done: in place on a terminal, a line each in a log file."""
    from rich.markup import escape

    if told.is_terminal:
        status.update(escape(words))
    else:
        say(words, told)


def _watcher(status: Status) -> Watcher:
    """Give the trainings' progress the terminal while they go: it bears one live line."""
    from hebae.cli.progress import RunsProgress
    from hebae.training.many import Result

    class Taking(RunsProgress):
        def on_start(self, results: Sequence[Result], waiting: int, steps: int) -> None:
            status.stop()
            super().on_start(results, waiting, steps)

        def on_end(self) -> None:
            super().on_end()
            status.start()

    return Taking(told)
