"""What an evaluation of several runs leaves in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.experiments.evaluation.loop import Kept
from hebae.experiments.evaluation.runs import Run
from hebae.experiments.gallery import Picture
from hebae.files import clear, make_folder, require_only, write_atomically
from hebae.provenance import provenance
from hebae.report.page import Picture as PagePicture
from hebae.report.page import Section, write_page
from hebae.report.tables import Table

__all__ = ["clear_figures", "require_free", "write"]

MARK = "evaluation-table.json"
"""The file by which a folder is known to hold an evaluation's table."""

NAMES = (MARK, "evaluation.md", "evaluation.csv", "report.html", "figures")


def require_free(output: Path) -> None:
    """Raise a HebaeError unless `output` is new, empty, or holds an earlier table."""
    if output.is_file():
        raise HebaeError(f"--output {output} is a file; name a folder.")
    if output.is_dir() and any(output.iterdir()):
        if not (output / MARK).is_file():
            raise HebaeError(f"--output {output} holds files of another kind; name another folder.")
        require_only(output, NAMES)
    make_folder(output, "--output")


def clear_figures(output: Path) -> None:
    """Remove the figures of an earlier table."""
    clear(output, ("figures",))


def write(
    output: Path,
    table: Table,
    figures: Sequence[Picture],
    kept: Sequence[Kept],
    dataset: Dataset,
    runs: Sequence[Run],
    command: str,
) -> None:
    """Write table, provenance and page into `output`."""
    origin = provenance(command, dataset, runs[0].settings, [run.settings.seed for run in runs])
    origin["runs"] = ", ".join(run.name for run in runs)
    texts = {
        "evaluation.md": table.to_markdown(),
        "evaluation.csv": table.to_csv(),
        MARK: json.dumps({"provenance": origin, "table": table.records()}, indent=1) + "\n",
    }
    for name, text in texts.items():
        write_atomically(output / name, partial(Path.write_text, data=text, encoding="utf-8"))
    meanings = {
        m.name: m.note
        for one in kept
        for measurements in one.by_section.values()
        for m in measurements
        if m.note and m.headline
    }
    pictures = [
        Section(figure.title, [PagePicture(figure.path.read_bytes(), figure.title, figure.caption)])
        for figure in figures
    ]
    write_page(
        output / "report.html",
        table.title,
        [
            Section("Results", [table]),
            *pictures,
            Section("What is measured", [meanings]),
            Section("Provenance", [origin]),
        ],
    )
