"""``hebae tune``: search for good settings of a method."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hebae.cli.app import (
    Cluster,
    Start,
    StartFlags,
    app,
    command,
    err,
    out,
    say,
    say_resumable,
    tell,
    working,
)
from hebae.config import resolve
from hebae.errors import HebaeError
from hebae.experiments.settings import ClusterSettings


@app.command
def tune(
    *,
    space: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    objective: Literal["auto", "elbo", "iwae", "reconstruction", "frechet"] = "auto",
    trials: int = 20,
    timeout: float | None = None,
    output: Path = Path("tuning"),
    start: Start = StartFlags(),  # noqa: B008
    cluster: Cluster = ClusterSettings(),  # noqa: B008
) -> int:
    """Search with Optuna for the settings of a method that give the best held-out result.

    Trials are compared on validation examples that no trial is trained on. The criterion does not
    depend on the weights of the penalties. Trials that are worse than the median of the others
    after a quarter or half of the epochs are pruned. A trial that diverges is marked as failed.
    Needs hebae[tune]. Exit status: 0; 2 for an error, also if no trial has a result; 130 after
    Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.

    Parameters
    ----------
    space
        Setting to search: NAME (a range around its present value), NAME=LOW..HIGH or NAME=A,B,C.
        Repeat the flag for each setting [default: the method's weights, learning_rate, latent_dim
        and the widths of fully connected networks].
    objective
        Criterion: elbo, iwae (a bound on log p(x), for every method), reconstruction or frechet (of
        samples). auto: iwae for deterministic methods and for HEBAE without a rate weight,
        otherwise elbo.
    trials
        Number of trials of the study. With --resume, earlier trials are counted.
    timeout
        Seconds after which no further trial starts.
    output
        Folder for the trials (in runs), best.yaml, tune.csv, .md, .json, journal.log and
        report.html.
    """
    if trials < 1:
        raise HebaeError(f"--trials is {trials}; it must be at least 1.")
    if timeout is not None and not timeout > 0:
        raise HebaeError(f"--timeout is {timeout:g}; it must be above 0 seconds.")
    if start.resume and start.overwrite:
        raise HebaeError(
            "--resume keeps what is in --output, but --overwrite replaces it; give one of them."
        )

    from rich.text import Text

    from hebae.experiments.cluster import connected
    from hebae.experiments.runner import ExperimentFolder
    from hebae.experiments.trials import LABELS
    from hebae.experiments.tune import BEST, plan, run_study
    from hebae.training.checks import require_relevant

    settings = resolve(start.preset, start.config, start.settings)
    require_relevant(start.settings, [settings])
    folder = ExperimentFolder(output, "tune")
    if not start.dry_run:
        folder.require_usable(resume=start.resume, overwrite=start.overwrite)
    study = plan(settings, space, objective)
    tell(*study.notes, f"criterion: {LABELS[study.criterion]}.")
    if start.dry_run:
        say(f"objective: {study.criterion}, after {', '.join(map(str, study.stages))} epochs")
        for dimension in study.space:
            say(f"{dimension.name}: {dimension.text}{' (logarithmic)' if dimension.log else ''}")
        return 0
    with connected(cluster, tell) as connection, working("tuning") as status:

        def show(message: str) -> None:
            if err.is_terminal:
                status.update(Text(message))
            else:
                say(message, err)

        table = run_study(
            study,
            folder,
            trials=trials,
            timeout=timeout,
            resume=start.resume,
            overwrite=start.overwrite,
            command=command(),
            progress=show,
            cluster=connection,
        )
    if table is None:
        return say_resumable("--resume")
    out.print(table)
    say(f"Train with the best settings: hebae train --config {shlex.quote(str(output / BEST))}")
    say(f"Open {folder.page} in a browser.")
    return 0
