"""``hebae compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from hebae.cli.app import (
    Data,
    Model,
    Switch,
    Training,
    app,
    command,
    err,
    given,
    out,
    say,
    say_resumable,
    tell,
)
from hebae.config import METHODS, DataSettings, Method, ModelSettings, TrainingSettings, resolve
from hebae.errors import HebaeError


@app.command
def compare(
    *,
    methods: tuple[Method, ...] = ("hebae", "vae", "wae"),
    seeds: tuple[int, ...] | None = None,
    preset: str | None = None,
    config: Path | None = None,
    output: Path = Path("comparison"),
    resume: Annotated[bool, Switch] = False,
    retry_diverged: Annotated[bool, Switch] = False,
    overwrite: Annotated[bool, Switch] = False,
    dry_run: Annotated[bool, Switch] = False,
    data: Data = DataSettings(),  # noqa: B008
    model: Model = ModelSettings(),  # noqa: B008
    training: Training = TrainingSettings(),  # noqa: B008
) -> int:
    """Train several methods on the same data, with the same budget and seeds, and compare them.

    A run that diverges is marked in the table and does not stop the others. Exit status: 0, 1 if
    every run diverged, 2 for an error, 130 after Ctrl-C.

    Parameters
    ----------
    methods
        Methods to compare, in the order of the table.
    seeds
        Train each method once per seed [default: --seed].
    preset
        Settings that come with hebae: mnist-mini, mnist, mnist-rate, celeba, mnist-released,
        celeba-released.
    config
        YAML file of settings; settings for one method are listed under methods.
    output
        Folder for the runs, figures, table and report.html.
    resume
        Resume the comparison in --output. Finished and diverged runs are kept; methods and seeds
        may be added.
    retry_diverged
        Train runs again that diverged earlier; with --resume.
    overwrite
        Replace the comparison in --output.
    dry_run
        Check everything, print the settings of each run and stop.
    """
    flags = given(data, model, training)
    if resume and overwrite:
        raise HebaeError("--resume keeps the comparison and --overwrite replaces it; give one.")
    if retry_diverged and not resume:
        raise HebaeError("--retry-diverged repeats runs of an earlier comparison; add --resume.")
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
        {m: resolve(preset, config, flags | {"method": m}) for m in methods}, seeds
    )
    folder = ExperimentFolder(output, KIND)
    if not dry_run:
        folder.require_usable(resume=resume, overwrite=overwrite)
    jobs = prepare(planned, folder.runs, notify=tell)
    if dry_run:
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
            resume=resume,
            overwrite=overwrite,
            retry_diverged=retry_diverged,
            watcher=RunsProgress(err, status),
            progress=lambda message: status.update(Text(message)),
        )
    if table is None:
        say_resumable()
        return 130
    out.print(table)
    diverged = sum(job.folder.divergence.is_file() for job in jobs)
    if diverged:
        say(
            f"{diverged} of {len(jobs)} runs diverged; --resume --retry-diverged trains them again."
        )
    say(f"Figures, table and runs: {output}")
    say(f"Open {folder.page} in a browser.")
    return 1 if diverged == len(jobs) else 0
