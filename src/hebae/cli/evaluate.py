"""``hebae evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from hebae.cli.app import Switch, app, command, err, out, say, tell
from hebae.experiments.settings import EvaluationSettings

Evaluation = Annotated[
    EvaluationSettings, Parameter(name="*", group=Group("Estimates", sort_key=2))
]


@app.command
def evaluate(
    *runs: Path,
    metrics: tuple[str, ...] = ("fast",),
    output: Path | None = None,
    pool_seeds: Annotated[bool, Switch] = False,
    data: str | None = None,
    data_dir: Path | None = None,
    settings: Evaluation = EvaluationSettings(),  # noqa: B008
) -> int:
    """Evaluate trained runs with the same metrics.

    Each metric is stored in the run's evaluation.json as soon as it is measured, and not measured
    again. An interrupted command therefore resumes.

    Parameters
    ----------
    runs
        Folders of finished runs, all trained on the same data. Each has a column in the table.
    metrics
        all, fast, or names, separated by commas or spaces: objective, reconstruction, elbo, iwae,
        ais, frechet, kernel, precision-recall, density-coverage, copying, moments, normality,
        samplers, information, mic, labels, robustness, smoothness.
    output
        Folder for the table, the figures of all runs side by side, and report.html.
    pool_seeds
        Put runs that differ only in their seed into one column.
    data
        Name, file or folder of the runs' data, if they have moved.
    data_dir
        Folder with data files [env: HEBAE_DATA_DIR].
    """
    from rich.text import Text

    from hebae.experiments.evaluate import evaluate as run
    from hebae.experiments.metrics import choose, is_fast

    chosen = choose(metrics)
    if is_fast(metrics):
        settings = settings.for_fast()
    with err.status("loading") as status:
        table, pictures = run(
            runs,
            chosen,
            settings,
            command=command(),
            output=output,
            pool_seeds=pool_seeds,
            data=data,
            data_dir=data_dir,
            notify=lambda note: tell([note]),
            progress=lambda message: status.update(Text(message)),
        )
    out.print(table)
    for folder in dict.fromkeys(picture.path.parent for picture in pictures):
        say(f"Figures: {folder}")
    if output is not None:
        say(f"Open {output / 'report.html'} in a browser.")
    return 0
