"""``hebae evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from hebae.cli.app import Switch, app, command, out, say, told
from hebae.experiments.evaluation.settings import EvaluationSettings

HowMuch = Annotated[EvaluationSettings, Parameter(name="*", group=Group("Estimates", sort_key=2))]


@app.command
def evaluate(
    *runs: Path,
    metrics: tuple[str, ...] = ("fast",),
    output: Path | None = None,
    pool_seeds: Annotated[bool, Switch] = False,
    data: str | None = None,
    data_dir: Path | None = None,
    settings: HowMuch = EvaluationSettings(),  # noqa: B008
) -> int:
    """Judge finished runs by one yardstick: bounds, samples, code, information, use.

    Each metric is kept in the run's evaluation.json as soon as it is measured: stopped and started
    again, the command goes on where it was.

    Parameters
    ----------
    runs
        Folders of finished runs, all trained on the same data; a column each.
    metrics
        all, fast, or names, with commas or spaces: objective, reconstruction, elbo, iwae, ais,
        frechet, kernel, precision-recall, density-coverage, copying, moments, normality, samplers,
        information, mic, labels, robustness, smoothness.
    output
        Folder for the table, figures of all runs side by side and report.html.
    pool_seeds
        Let runs that differ in their seed alone share a column.
    data
        Where the runs' data are now, if they have moved: name, file or folder.
    data_dir
        Folder that holds them [env: HEBAE_DATA_DIR].
    """
    from rich.markup import escape

    from hebae.experiments.evaluation import metrics as registry
    from hebae.experiments.evaluation.evaluate import evaluate as judge

    chosen = registry.choose(metrics)
    if registry.is_fast(metrics):
        settings = settings.for_fast()
    with told.status("loading") as status:
        found = judge(
            runs,
            chosen,
            settings,
            command=command(),
            output=output,
            pool_seeds=pool_seeds,
            data=data,
            data_dir=data_dir,
            told=lambda note: told.print(
                f"Note: {note}", style="dim", markup=False, highlight=False
            ),
            progress=lambda words: status.update(escape(words)),
        )
    out.print(found.table)
    for folder in dict.fromkeys(picture.path.parent for picture in found.figures):
        say(f"Figures: {folder}")
    if output is not None:
        say(f"Open {output / 'report.html'} in a browser.")
    return 0
