"""Studies from beginning to end: check everything, train, measure, conclude."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hebae.errors import HebaeError
from hebae.experiments.reproduction import output as results
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.datasets import Datasets
from hebae.experiments.reproduction.measuring import evaluation_settings, measure_all
from hebae.experiments.reproduction.plan import PlannedRun, unique
from hebae.experiments.reproduction.study import Study
from hebae.experiments.reproduction.training import check, train
from hebae.files import make_folder, require_only
from hebae.training.many import Watcher

__all__ = ["reproduce"]

RUNS, RESULTS = "runs", "results"
"""What lies in the output's folder."""


def reproduce(
    studies: Sequence[Study],
    budget: Budget,
    output: Path,
    *,
    command: str,
    data_dir: Path | None = None,
    device: str = "auto",
    train_only: bool = False,
    watcher: Watcher | None = None,
    told: Callable[[str], None] = lambda note: None,
    progress: Callable[[str], None] = lambda words: None,
) -> list[Path] | None:
    """Run studies, going on from whatever is in `output` already.

    Parameters
    ----------
    studies : sequence of Study
    budget : Budget
    output : Path
        Gets ``runs/``, which studies and machines share, and ``results/``.
    command : str
        For the provenance.
    data_dir : Path, optional
        Folder that holds data files.
    device : str
        Where to train.
    train_only : bool
        Leave measuring to another call, perhaps on another machine.
    watcher : Watcher, optional
        Is told of the trainings.
    told, progress : callable
        Take notes for the user, and what is being done.

    Returns
    -------
    list of Path, or None
        The pages, one a study; None if the training was interrupted.

    Raises
    ------
    HebaeError
        Before any training, if data are missing, settings cannot work, or `output` holds anything
        else.
    """
    if output.is_dir():
        require_only(output, (RUNS, RESULTS))
    make_folder(output / RUNS, "--output")
    root, datasets = output / RUNS, Datasets(data_dir)
    plans = {study.name: _plan(study, budget, datasets, told) for study in studies}
    runs = unique(run for plan in plans.values() for run in plan)
    progress(f"loading the data of {len(runs)} runs")
    check(runs, datasets, device)
    for study in studies:
        evaluation_settings(study, budget)
    if not train(
        runs,
        root,
        datasets,
        command=command,
        device=device,
        watcher=watcher,
        progress=progress,
    ):
        return None
    pages = []
    for study in [] if train_only else studies:
        plan = plans[study.name]
        found = measure_all(
            study, budget, plan, root, datasets, command=command, told=told, progress=progress
        )
        progress(f"{study.name}: figures and pages")
        used = {id(d): d for run in plan for d in [datasets.of(run.settings)]}
        findings = study.conclude(budget, found)
        pages.append(
            results.write(
                output / RESULTS, study, budget, found, findings, list(used.values()), command
            )
        )
    return pages


def _plan(
    study: Study, budget: Budget, datasets: Datasets, told: Callable[[str], None]
) -> list[PlannedRun]:
    """Return a study's runs, less those of optional data that are not there, which is said."""
    runs = unique(study.plan(budget))
    for name in study.optional:
        of_it = [run for run in runs if run.data == name]
        try:
            for run in of_it[:1]:
                datasets.of(run.settings)
        except HebaeError as missing:
            told(f"{study.name} leaves out {len(of_it)} of its {len(runs)} runs: {missing}")
            runs = [run for run in runs if run.data != name]
    return runs
