"""``hebae sweep``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hebae.cli.app import Data, Model, Switch, Training, app, command, given, out, say, tell, told
from hebae.config import DataSettings, ModelSettings, TrainingSettings
from hebae.errors import HebaeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hebae.training.many import Job

MOST_ROWS = 50
"""Of a table that is printed; longer ones are in the folder."""


@app.command
def sweep(
    *,
    grid: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    preset: str | None = None,
    config: Path | None = None,
    output: Path = Path("sweep"),
    resume: Annotated[bool, Switch] = False,
    overwrite: Annotated[bool, Switch] = False,
    dry_run: Annotated[bool, Switch] = False,
    data: Data = DataSettings(),  # noqa: B008
    model: Model = ModelSettings(),  # noqa: B008
    training: Training = TrainingSettings(),  # noqa: B008
) -> int:
    """Train every combination of some settings' values; tabulate and draw what came of them.

    A run that diverges is marked in the table and does not stop the others. Exit status: 0, 1 if
    every run diverged, 2 for an error, 130 after Ctrl-C.

    Parameters
    ----------
    grid
        An axis: a setting and its values, such as penalty_weight=0.1,1,10. seed=0..4 is 0, 1, 2, 3
        and 4; penalty_weight=0.001..1000:7 is seven values spaced evenly in their logarithm;
        encoder_widths=100,784x800 is two networks. Repeat for each axis.
    preset
        Settings that come with hebae: mnist-mini, mnist, mnist-rate, celeba, mnist-released,
        celeba-released.
    config
        YAML file of settings; values for one method stand under methods.
    output
        Folder for the runs (beneath runs), sweep.json, .csv and .md, figures and report.html.
    resume
        Go on with the sweep in --output; finished runs are kept, axes may get more values.
    overwrite
        Replace the sweep in --output.
    dry_run
        Check everything, list the runs and their settings and stop.
    """
    from hebae.experiments.sweep import axes as sweep_axes

    flags = given(data, model, training)
    if resume and overwrite:
        raise HebaeError("--resume keeps the sweep and --overwrite replaces it; give one.")
    axes = sweep_axes.parse(grid)

    from hebae.cli.progress import RunsProgress
    from hebae.experiments.sweep import plan
    from hebae.experiments.sweep.folder import SweepFolder
    from hebae.experiments.sweep.sweep import run

    planned = plan.plan(axes, preset, config, flags)
    folder = SweepFolder(output)
    if not dry_run:
        folder.require_usable(resume=resume, overwrite=overwrite)
    jobs = plan.prepare(planned, folder.runs, told=tell)
    if dry_run:
        _list(jobs)
        return 0
    swept = run(
        axes,
        planned,
        jobs,
        output,
        command=command(),
        resume=resume,
        overwrite=overwrite,
        watcher=RunsProgress(told),
    )
    if swept is None:
        words = [word for word in sys.argv[1:] if word not in ("--overwrite", "--resume")]
        go_on = shlex.join(["hebae", *words, "--resume"])
        say(f"Stopped and saved. Go on with: {go_on}", told)
        return 130
    if len(jobs) <= MOST_ROWS:
        out.print(swept.table(out.width))
    diverged = f"; {swept.diverged:,} diverged" if swept.diverged else ""
    say(f"{len(jobs):,} runs{diverged}. Table, figures and runs: {output}")
    say(f"Open {folder.page} in a browser.")
    return 1 if swept.diverged == len(jobs) else 0


def _list(jobs: Sequence[Job]) -> None:
    """Print, as YAML, the settings that all runs share and those of each."""
    import yaml

    from hebae.experiments.sweep.plan import grouping, shared

    common, own = shared(job.prepared.settings for job in jobs)
    runs = {job.label: settings for job, settings in zip(jobs, own, strict=True)}
    say(f"# {len(jobs):,} runs, {grouping(jobs)}")
    content = {"settings": common, "runs": runs}
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=2**20)
    out.print(text, end="", markup=False, highlight=False, soft_wrap=True)
