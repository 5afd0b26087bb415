"""``hebae compare``, ``sweep``, ``leaderboard`` and ``evaluate``: many models, one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter
from rich.text import Text

from hebae.cli.app import (
    Experiment,
    ExperimentFlags,
    Switch,
    app,
    command,
    err,
    out,
    say,
    say_resumable,
    tell,
    working,
)
from hebae.config import METHODS, Method, resolve
from hebae.errors import HebaeError
from hebae.experiments.settings import EvaluationSettings

if TYPE_CHECKING:
    from rich.status import Status

    from hebae.experiments.plan import PlannedRun
    from hebae.report.tables import Table
    from hebae.training.many import Job

Evaluation = Annotated[
    EvaluationSettings, Parameter(name="*", group=Group("Estimates", sort_key=2))
]

MOST_ROWS = 50
"""Rows of a table that is printed; longer tables are only in the folder."""


@app.command
def compare(
    *,
    methods: tuple[Method, ...] = ("hebae", "vae", "wae"),
    seeds: tuple[int, ...] | None = None,
    output: Path = Path("comparison"),
    start: Experiment = ExperimentFlags(),  # noqa: B008
) -> int:
    """Train several methods on the same data, with the same budget and seeds, and compare them.

    A run that diverges is marked in the table and does not stop the others. --resume keeps finished
    and diverged runs, and you may add methods and seeds. Exit status: 0; 1 if every run diverged; 2
    for an error; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.

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
    if not methods or len(set(methods)) < len(methods):
        raise HebaeError(
            f"--methods takes one or more names, each once; allowed are {' '.join(METHODS)}."
        )
    if seeds is not None and not seeds:
        raise HebaeError("--seeds takes one or more whole numbers.")
    if "method" in flags:
        raise HebaeError("compare takes several names with --methods, not --method.")

    from hebae.experiments.compare import report_comparison
    from hebae.experiments.plan import plan_methods
    from hebae.training.checks import require_relevant

    by_method = {m: resolve(start.preset, start.config, flags | {"method": m}) for m in methods}
    require_relevant(flags, list(by_method.values()))
    planned = plan_methods(by_method, seeds)
    return _train_all("comparison", planned, output, start, report_comparison)


@app.command
def sweep(
    *,
    grid: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    output: Path = Path("sweep"),
    start: Experiment = ExperimentFlags(),  # noqa: B008
) -> int:
    """Train every combination of values of some settings; tabulate and plot the results.

    A run that diverges is marked in the table and does not stop the others. --resume keeps finished
    and diverged runs, and you may add values. Exit status: 0; 1 if every run diverged; 2
    for an error; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.

    Parameters
    ----------
    grid
        A setting and its values, such as penalty_weight=0.1,1,10. Repeat for each setting.
        seed=0..4 means 0, 1, 2, 3 and 4; penalty_weight=0.001..1000:7 means seven logarithmically
        spaced values; encoder_widths=100,784x800 means two networks.
    output
        Folder for the runs (in runs), sweep.json, .csv and .md, figures and report.html.
    """
    from hebae.experiments.plan import parse_axes, plan_grid
    from hebae.experiments.sweep import report_sweep

    axes = parse_axes(grid)
    planned = plan_grid(axes, start.preset, start.config, start.settings)

    content = {"axes": {axis.name: list(axis.values) for axis in axes}}
    return _train_all("sweep", planned, output, start, partial(report_sweep, axes), content)


@app.command
def leaderboard(
    *,
    budget: Literal["smoke", "small", "full"] = "smoke",
    methods: tuple[str, ...] | None = None,
    output: Path = Path("leaderboard"),
    start: Experiment = ExperimentFlags(),  # noqa: B008
) -> int:
    """Rank every method on the same data, network and budget, with every sampler.

    Each method's main weight is chosen among as many settings on validation examples, then the
    model is trained with several seeds and evaluated on test examples. A method that cannot be
    trained or diverges has its reason in the table. --resume keeps finished runs and measurements,
    and you may add methods. Exit status: 0; 1 if no method could be trained; 2 for an error; 130
    after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.

    Parameters
    ----------
    budget
        smoke: mnist-mini with tiny networks, about two minutes; checks that everything runs. small:
        3 settings each on 10,000 examples, then 12 epochs with 3 seeds, and Fashion-MNIST with one;
        about four hours on two cores. full: 5 settings, 100 epochs, 5 seeds; for a GPU.
    methods
        Rows of the table: methods, and hebae-rate, hebae-mixture, hebae-flow, vae-flow, vampprior
        [default: all].
    output
        Folder for the runs (in runs), leaderboard.json, .csv and .md, figures and report.html.
    """
    from hebae.experiments.cluster import connected
    from hebae.experiments.leaderboard import run_leaderboard
    from hebae.experiments.leaderboard_plan import ENTRIES, PRESETS, Board
    from hebae.experiments.runner import ExperimentFolder

    chosen = tuple(ENTRIES) if methods is None else methods
    unknown = [name for name in chosen if name not in ENTRIES]
    if unknown or not chosen or len(set(chosen)) < len(chosen):
        raise HebaeError(
            f"--methods is {' '.join(chosen)!r}; it takes one or more names, each once, of "
            f"{' '.join(ENTRIES)}."
        )
    if start.dry_run:
        raise HebaeError("leaderboard has no --dry-run; use --budget smoke to see what it does.")
    _require_one_way(start)
    flags = start.settings
    preset = start.preset
    if preset is None and start.config is None:
        flags = {"data": "mnist-mini" if budget == "smoke" else "mnist"} | flags
        preset = PRESETS.get(flags["data"])
    board = Board(budget, [ENTRIES[name] for name in chosen], preset, start.config, flags)
    with connected(start.cluster, tell) as cluster, working("training") as status:
        tables = run_leaderboard(
            ExperimentFolder(output, "leaderboard"),
            board,
            cluster=cluster,
            **_training_options(start, status),
        )
    if tables is None:
        return say_resumable("--resume")
    for table in tables:
        out.print(table)
    say(f"Open {output / 'report.html'} in a browser.")
    return 0 if any(output.glob("runs/*-seed*/model.safetensors")) else 1


def _require_one_way(start: ExperimentFlags) -> None:
    if start.resume and start.overwrite:
        raise HebaeError(
            "--resume keeps what is in --output, but --overwrite replaces it; give one of them."
        )
    if start.retry_diverged and not start.resume:
        raise HebaeError("--retry-diverged trains runs in --output again; add --resume.")


def _training_options(start: ExperimentFlags, status: Status) -> dict[str, Any]:
    """Return what is passed on to everything that trains several runs."""
    from hebae.cli.progress import RunsProgress

    return {
        "command": command(),
        "resume": start.resume,
        "overwrite": start.overwrite,
        "retry_diverged": start.retry_diverged,
        "watcher": RunsProgress(err, status),
        "progress": lambda message: status.update(Text(message)),
    }


def _train_all(
    kind: str,
    planned: Sequence[PlannedRun],
    output: Path,
    start: ExperimentFlags,
    report: Callable[..., Table],
    content: dict[str, Any] | None = None,
) -> int:
    """Check and train all runs, and print their table; return the exit status."""
    from hebae.experiments.cluster import connected
    from hebae.experiments.plan import prepare
    from hebae.experiments.runner import ExperimentFolder, run_experiment

    _require_one_way(start)
    folder = ExperimentFolder(output, kind, content)
    if not start.dry_run:
        folder.require_usable(resume=start.resume, overwrite=start.overwrite)
    with connected(start.cluster, tell, dry_run=start.dry_run) as cluster:
        jobs = prepare(planned, folder.runs)
        tell(*dict.fromkeys(note for job in jobs for note in job.prepared.notes))
        if start.dry_run:
            return _list(jobs)
        with working("training") as status:
            table = run_experiment(
                folder,
                planned,
                jobs,
                report,
                cluster=cluster,
                **_training_options(start, status),
            )
    if table is None:
        return say_resumable("--resume")
    if len(jobs) <= MOST_ROWS:
        out.print(table)
    diverged = sum(job.folder.divergence.is_file() for job in jobs)
    some = f"; {diverged:,} diverged (see the notes of the table)"
    say(f"{len(jobs):,} runs{some if diverged else ''}. Table, figures and runs: {output}")
    say(f"Open {folder.page} in a browser.")
    return 1 if diverged == len(jobs) else 0


def _list(jobs: Sequence[Job]) -> int:
    """Print which runs are stacked, the settings that all runs share, and those of each."""
    import yaml

    from hebae.experiments.plan import common_settings
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
        samplers, information, mic, labels, mixing (of conditions), robustness, smoothness. For
        genotypes: genotypes, imputation. For counts: counts. For tables: marginals, associations,
        utility, privacy.
    output
        Folder for the table, the figures of all runs side by side, and report.html.
    pool_seeds
        Put runs that differ only in their seed into one column.
    data
        Name, file or folder of the runs' data, if they have moved.
    data_dir
        Folder with data files [env: HEBAE_DATA_DIR].
    """
    from hebae.experiments.evaluate import evaluate as run
    from hebae.experiments.metrics import choose, is_fast

    chosen = choose(metrics)
    if is_fast(metrics):
        settings = settings.for_fast()
    with working("loading") as status:
        table, drawn = run(
            runs,
            chosen,
            settings,
            command=command(),
            output=output,
            pool_seeds=pool_seeds,
            data=data,
            data_dir=data_dir,
            notify=tell,
            progress=lambda message: status.update(Text(message)),
        )
    out.print(table)
    for folder in dict.fromkeys(path.parent for path in drawn):
        say(f"Figures: {folder}")
    if output is not None:
        say(f"Open {output / 'report.html'} in a browser.")
    return 0
