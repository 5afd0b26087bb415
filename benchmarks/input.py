"""How fast examples are read: a memory-mapped file of 10 GB, and the preparation of CelebA.

``python benchmarks/input.py``, or with ``mapped`` or ``decoding`` one of the two.
"""

from __future__ import annotations

import json
import platform
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
import numpy as np
import torch
from cyclopts.types import ExistingDirectory
from cyclopts.validators import Number
from results import Effort
from rich.console import Console
from rich.table import Table
from topics import decoding, mapped

from hebae.data import load
from hebae.errors import HebaeError
from hebae.files import make_folder, write_atomically
from hebae.provenance import provenance

AtLeastOne = Annotated[int, cyclopts.Parameter(validator=Number(gte=1))]
Positive = Annotated[float, cyclopts.Parameter(validator=Number(gt=0))]


def main(
    what: Literal["all", "mapped", "decoding"] = "all",
    *,
    size_gb: Positive = 10.0,
    images: AtLeastOne = 10_000,
    rounds: AtLeastOne = 10,
    steps: AtLeastOne = 40,
    threads: AtLeastOne | None = None,
    folder: ExistingDirectory | None = None,
    output: Path | None = None,
    smoke: bool = False,
) -> None:
    """Measure how fast examples are read and prepared, on the CPU.

    Parameters
    ----------
    what
        Training on a memory-mapped file against data in memory; decoding JPEG files; or both.
    size_gb
        Size of the file, which is made for the benchmark and removed.
    images
        JPEG files to prepare.
    rounds
        Rounds per comparison.
    steps
        Training steps of each contender per round.
    threads
        Threads of torch [default: torch's own choice].
    folder
        Where to make the file [default: the system's temporary folder]; it should be on a disk.
    output
        JSON file for all readings, with machine, versions and commit.
    smoke
        One short round at small size, to see whether everything runs.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    effort = Effort(1, 2, smoke=True) if smoke else Effort(rounds, steps)
    measures = {
        "mapped": lambda: mapped.measure(effort, size_gb, folder),
        "decoding": lambda: decoding.measure(effort, images),
    }
    records = {}
    console = Console()
    try:
        if output is not None:
            make_folder(output.parent, "--output")
        for topic in measures if what == "all" else [what]:
            records[topic] = record = measures[topic]().as_record()
            _show(console, record)
    except HebaeError as error:
        Console(stderr=True).print(f"Error: {error}", markup=False, soft_wrap=True)
        sys.exit(2)
    if output is not None:
        content = json.dumps({"provenance": _origin(effort)} | records, indent=1) + "\n"
        write_atomically(output, lambda path: path.write_text(content, encoding="utf-8"))


def _show(console: Console, record: dict[str, Any]) -> None:
    console.print(f"[bold]{record['title']}[/bold]")
    for aim in record["aims"]:
        verdict = {True: "met", False: "missed", None: "no aim here"}[aim["met"]]
        numbers = f"{aim['median']:,.4g} {aim['unit']} ({aim['low']:,.4g} to {aim['high']:,.4g})"
        console.print(f"{aim['what']}: {numbers}, {verdict}", markup=False, highlight=False)
    for numbers in record["tables"]:
        table = Table(*numbers["columns"], title=numbers["title"])
        for row in numbers["rows"]:
            table.add_row(*row)
        console.print(table)


def _origin(effort: Effort) -> dict[str, str]:
    command = shlex.join(["python", *sys.argv])
    dataset = load(np.zeros((2, *mapped.SHAPE), np.uint8), validation_size=0)
    origin = provenance(command, dataset, mapped.SETTINGS, [mapped.SETTINGS.seed])
    kept = {name: origin[name] for name in ("command", "commit", "machine", "versions", "date")}
    return {
        **kept,
        "system": platform.platform(),
        "effort": f"{effort.rounds} rounds of {effort.steps} steps",
    }


if __name__ == "__main__":
    cyclopts.run(main)
