"""``hebae reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from hebae.cli.app import Switch, app, command, err, say, say_resumable, tell

if TYPE_CHECKING:
    from rich.status import Status


@app.command
def reproduce(
    *studies: str,
    budget: Literal["smoke", "small", "full"] = "smoke",
    output: Path | None = None,
    data_dir: Path | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    train_only: Annotated[bool, Switch] = False,
) -> int:
    """Reproduce the paper: train its models, draw its figures, and check its statements.

    Runs and measurements that are in --output already are reused, so that an interrupted command
    resumes. Studies share their runs.

    Parameters
    ----------
    studies
        figure1a, figure1b, figure2, figure3, figure4, table, rate, ablations, or all.
    budget
        smoke: mnist-mini and synthetic faces with tiny networks; takes a few minutes and checks
        that everything runs. small: MNIST for 12 epochs and CelebA with narrow networks, one to
        three seeds; takes hours on two cores. full: the paper's networks and epochs with five
        seeds; needs a GPU.
    output
        Folder for runs/ and results/ [default: reproduction/BUDGET].
    data_dir
        Folder with data files [env: HEBAE_DATA_DIR].
    device
        Device to train and to measure on.
    train_only
        Train only. Run the command again without this option to measure and draw.
    """
    from hebae.cli.progress import RunsProgress
    from hebae.paper import choose
    from hebae.paper.budgets import BUDGETS
    from hebae.paper.reproduce import reproduce as run

    chosen = choose(studies)
    output = output or Path("reproduction") / budget
    with err.status("loading") as status:
        pages = run(
            chosen,
            BUDGETS[budget],
            output,
            command=command(),
            data_dir=data_dir,
            device=device,
            train_only=train_only,
            watcher=RunsProgress(err, status),
            tell=lambda note: tell([note]),
            progress=lambda message: _show(message, status),
        )
    if pages is None:
        return say_resumable()
    for page in pages:
        say(f"Results: {page}")
    if train_only:
        say(f"Trained: {output / 'runs'}. Run the command without --train-only to measure them.")
    return 0


def _show(message: str, status: Status) -> None:
    """Show what is being done: in place on a terminal, one line each in a log file."""
    from rich.text import Text

    if err.is_terminal:
        status.update(Text(message))
    else:
        say(message, err)
