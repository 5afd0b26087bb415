"""`hebae train` and `hebae show`: the report of one run."""

from __future__ import annotations

from pathlib import Path

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.experiments.figures import Drawn, draw_runs, explore
from hebae.experiments.runner import summarise
from hebae.experiments.settings import held_out
from hebae.experiments.table import summary_rows, tabulate, whiteness_notes
from hebae.experiments.trained_run import RunResult, load_dataset
from hebae.report.live import Explorer
from hebae.report.methods import display_name
from hebae.report.page import Section, write_page
from hebae.run_folder import RunFolder

MOST_FITTED = 10_000
"""Training examples that the samplers of the report of `hebae train` are fitted to."""


def report_run(path: Path, dataset: Dataset | None = None, *, figures: bool = True) -> Drawn:
    """Write ``report.html`` of a finished run, and its figures; nothing if it is not finished.

    Parameters
    ----------
    path : Path
        Folder of the run.
    dataset : Dataset, optional
        Its data, if they are loaded already.
    figures : bool
        Whether to write figures, for which samplers are fitted to all training codes and stored.
        Otherwise the page alone is written, which is quick.
    """
    folder = RunFolder(path)
    if not folder.is_finished:
        return {}
    settings = folder.settings()
    dataset = dataset or load_dataset(settings)
    evaluation = held_out(dataset, settings.device)
    run = RunResult(path.name, settings, path=path, dataset=dataset, evaluation=evaluation)
    run = summarise(run, progress=lambda message: None)
    name = display_name(run.method)
    opened = run.open()
    if not figures:
        opened.most_fitted = MOST_FITTED
    drawn = draw_runs(
        {name: opened}, {name: [opened]}, {name: [run]}, folder.figures if figures else None
    )
    columns = {name: [run]}
    title = f"{dataset.name}, k = {settings.latent_dim}, {settings.epochs} epochs: "
    table = tabulate(
        columns,
        f"{title}{run.split} examples",
        whiteness_notes(columns),
        ids=summary_rows([run]),
    )
    live = explore([(name, opened)])
    has_decoder = any(isinstance(block, Explorer) for section in live for block in section.blocks)
    shown = [
        section
        for path, section in drawn.items()
        if not (has_decoder and path.stem == "code-points")  # the decoder comes with a map
    ]
    sections = [Section("Results", [table]), *live, *shown]
    values = {key: str(value) for key, value in settings if value is not None}
    sections.append(Section("Settings", [values], folded=True))
    try:
        origins = folder.origins()
    except HebaeError:  # removed, perhaps; the report does not need it
        origins = []
    if origins:
        sections.append(Section("Provenance", [origins[-1]]))
    write_page(folder.report, f"{name} on {dataset.name}", sections)
    return drawn
