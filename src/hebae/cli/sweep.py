"""``hebae sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hebae.cli.app import (
    Experiment,
    ExperimentFlags,
    app,
    command,
    err,
    out,
    say,
    say_resumable,
    tell,
)

MOST_ROWS = 50
"""Rows of a table that is printed; longer tables are only in the folder."""


@app.command
def sweep(
    *,
    grid: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    output: Path = Path("sweep"),
    start: Experiment = ExperimentFlags(),  # noqa: B008
) -> int:
    """Train every combination of some settings' values; tabulate and draw the results.

    A run that diverges is marked in the table and does not stop the others. Exit status: 0, 1 if
    every run diverged, 2 for an error, 130 after Ctrl-C. Resumed, it keeps finished and diverged
    runs; values may be added.

    Parameters
    ----------
    grid
        A setting and its values, such as penalty_weight=0.1,1,10. seed=0..4 stands for 0, 1, 2, 3
        and 4; penalty_weight=0.001..1000:7 for seven logarithmically spaced values;
        encoder_widths=100,784x800 for two networks. Repeat for each setting.
    output
        Folder for the runs (in runs), sweep.json, .csv and .md, figures and report.html.
    """
    start.require_consistent()

    from rich.text import Text

    from hebae.cli.progress import RunsProgress
    from hebae.experiments.plan import common_settings, parse_axes, plan_grid, prepare

    axes = parse_axes(grid)
    planned = plan_grid(axes, start.preset, start.config, start.settings)

    from hebae.experiments.runner import ExperimentFolder
    from hebae.experiments.sweep import KIND
    from hebae.experiments.sweep import sweep as run

    folder = ExperimentFolder(output, KIND)
    if not start.dry_run:
        folder.require_usable(resume=start.resume, overwrite=start.overwrite)
    jobs = prepare(planned, folder.runs, notify=tell)
    if start.dry_run:
        import yaml

        from hebae.training.many import groups, why_alone

        common, own = common_settings(job.prepared.settings for job in jobs)
        sizes = [len(group) for group in groups(jobs)]
        stacked = " + ".join(str(size) for size in sizes if size > 1) or "none"
        reasons = "; ".join(dict.fromkeys(reason for reason in map(why_alone, jobs) if reason))
        say(f"# {len(jobs):,} runs; stacked in one program: {stacked}; {reasons}".rstrip("; "))
        runs = {job.label: settings for job, settings in zip(jobs, own, strict=True)}
        content = {"settings": common, "runs": runs}
        text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=2**20)
        out.print(text, end="", soft_wrap=True)
        return 0
    with err.status("training") as status:
        swept = run(
            axes,
            planned,
            jobs,
            output,
            command=command(),
            resume=start.resume,
            overwrite=start.overwrite,
            retry_diverged=start.retry_diverged,
            watcher=RunsProgress(err, status),
            progress=lambda message: status.update(Text(message)),
        )
    if swept is None:
        return say_resumable("--resume")
    results, table = swept
    if len(jobs) <= MOST_ROWS:
        out.print(table)
    count = sum(result.diverged for result in results)
    diverged = f"; {count:,} diverged" if count else ""
    say(f"{len(jobs):,} runs{diverged}. Table, figures and runs: {output}")
    say(f"Open {folder.page} in a browser.")
    return 1 if count == len(jobs) else 0
