"""``hebae compare``."""

from __future__ import annotations

from pathlib import Path

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
from hebae.config import METHODS, Method, resolve
from hebae.errors import HebaeError


@app.command
def compare(
    *,
    methods: tuple[Method, ...] = ("hebae", "vae", "wae"),
    seeds: tuple[int, ...] | None = None,
    output: Path = Path("comparison"),
    start: Experiment = ExperimentFlags(),  # noqa: B008
) -> int:
    """Train several methods on the same data, with the same budget and seeds, and compare them.

    A run that diverges is marked in the table and does not stop the others. Exit status: 0, 1 if
    every run diverged, 2 for an error, 130 after Ctrl-C. Resumed, it keeps finished and diverged
    runs; methods and seeds may be added.

    Parameters
    ----------
    methods
        Methods to compare, in the order of the table.
    seeds
        Train each method once per seed [default: --seed].
    output
        Folder for the runs, figures, table and report.html.
    """
    flags = start.settings
    start.require_consistent()
    if not methods or len(set(methods)) < len(methods):
        raise HebaeError(
            f"--methods takes one or more names, each once; allowed are {' '.join(METHODS)}."
        )
    if seeds is not None and not seeds:
        raise HebaeError("--seeds takes one or more whole numbers.")
    if "method" in flags:
        raise HebaeError("compare takes several names with --methods, not --method.")

    from rich.text import Text

    from hebae.cli.progress import RunsProgress
    from hebae.experiments.compare import KIND, compare
    from hebae.experiments.plan import plan_methods, prepare
    from hebae.experiments.runner import ExperimentFolder
    from hebae.training.checks import require_relevant

    require_relevant(flags, methods)
    planned = plan_methods(
        {m: resolve(start.preset, start.config, flags | {"method": m}) for m in methods}, seeds
    )
    folder = ExperimentFolder(output, KIND)
    if not start.dry_run:
        folder.require_usable(resume=start.resume, overwrite=start.overwrite)
    jobs = prepare(planned, folder.runs, notify=tell)
    if start.dry_run:
        for job in jobs:
            say(f"# {job.label}")
            out.print(job.prepared.settings.to_yaml(), soft_wrap=True)
        return 0
    with err.status("training") as status:
        table = compare(
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
    if table is None:
        return say_resumable("--resume")
    out.print(table)
    diverged = sum(job.folder.divergence.is_file() for job in jobs)
    if diverged:
        say(
            f"{diverged} of {len(jobs)} runs diverged; --resume --retry-diverged trains them again."
        )
    say(f"Figures, table and runs: {output}")
    say(f"Open {folder.page} in a browser.")
    return 1 if diverged == len(jobs) else 0
