"""Train every combination of some settings' values; tabulate and draw what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hebae.experiments.sweep.axes import Axis
from hebae.experiments.sweep.figure import draw
from hebae.experiments.sweep.folder import SweepFolder
from hebae.experiments.sweep.plan import PlannedRun
from hebae.experiments.sweep.results import SweptRun, collect
from hebae.experiments.sweep.tables import flat, tabulate, to_console
from hebae.files import make_folder
from hebae.provenance import provenance
from hebae.report import style
from hebae.report.page import Block, Picture, Section, write_page
from hebae.report.tables import to_csv
from hebae.training.many import Job, Watcher, train_all

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["Swept", "run"]


@dataclass(frozen=True)
class Swept:
    """A sweep that has come to its end."""

    runs: Sequence[SweptRun]

    def table(self, width: int) -> RichTable:
        """Make a table of the runs, a line each, for a console of so many letters."""
        return to_console(self.runs, width)

    @property
    def diverged(self) -> int:
        """How many runs did."""
        return sum(run.state == "diverged" for run in self.runs)


def run(
    axes: Sequence[Axis],
    planned: Sequence[PlannedRun],
    jobs: Sequence[Job],
    output: Path,
    *,
    command: str,
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Swept | None:
    """Train the runs into folders beneath `output`, then tabulate and draw them.

    A run that diverges is marked and does not stop the others.

    Parameters
    ----------
    axes : sequence of Axis
    planned : sequence of PlannedRun
        Of these axes.
    jobs : sequence of Job
        Of the same runs, in the same order.
    output : Path
        Gets ``runs/``, ``sweep.json``, ``.csv`` and ``.md``, ``report.html`` and, if an axis is
        numeric, ``figures/``.
    command : str
        For the provenance.
    resume, overwrite : bool
        What to do with a sweep that is there already: keep its finished runs, or replace it.
    watcher : Watcher, optional
        Is told of the progress.

    Returns
    -------
    Swept or None
        None if it was interrupted: with `resume` it goes on.

    Raises
    ------
    HebaeError
        Before any training, if the folder holds anything but this sweep, or cannot be written.
    """
    folder = SweepFolder(output)
    folder.open(axes, jobs, resume=resume, overwrite=overwrite)
    results = train_all(jobs, command=command, watcher=watcher)
    if any(result.state == "interrupted" for result in results):
        return None
    runs = [collect(run.values, result) for run, result in zip(planned, results, strict=True)]
    return _report(folder, axes, jobs, runs, command)


def _report(
    folder: SweepFolder,
    axes: Sequence[Axis],
    jobs: Sequence[Job],
    runs: Sequence[SweptRun],
    command: str,
) -> Swept:
    first = jobs[0].prepared
    over = " and ".join(axis.name for axis in axes)
    table = tabulate(runs, f"{first.dataset.name}: {len(runs):,} runs over {over}")
    seeds = [job.prepared.settings.seed for job in jobs]
    origin = provenance(command, first.dataset, first.settings, seeds)
    records = [flat(run) for run in runs]
    folder.write(axes, jobs, {"provenance": origin, "results": records})
    folder.write_text("sweep.csv", to_csv(records))
    folder.write_text("sweep.md", table.to_markdown())
    drawing = draw(axes, runs)
    blocks: list[Block] = [table]
    if isinstance(drawing, str):
        blocks.append(drawing)
    else:
        make_folder(folder.figures)
        for suffix in ("png", "pdf"):
            style.save(drawing.figure, folder.figures / f"sweep.{suffix}")
        picture = Picture(
            (folder.figures / "sweep.png").read_bytes(), drawing.title, drawing.caption
        )
        blocks.insert(0, picture)
    write_page(
        folder.page,
        f"A sweep over {over} on {first.dataset.name}",
        [Section("Results", blocks), Section("Provenance", [origin])],
    )
    return Swept(runs)
