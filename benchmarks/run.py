"""Measure how fast `hebae` is; write JSON files, tables and plots.

``python benchmarks/run.py --help``; ``make bench`` runs all of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
import torch
from contenders.released import find_module
from cyclopts.validators import Number
from records import RESULTS, write_record
from report import aim_cells, write_report
from results import Effort
from rich.console import Console
from topics import LONG, TOPICS, measure

from hebae.errors import HebaeError
from hebae.files import make_folder

AtLeastOne = Annotated[int, cyclopts.Parameter(validator=Number(gte=1))]
Topic = Literal[(*TOPICS, *LONG)]  # type: ignore[valid-type]


def main(
    *,
    only: Annotated[list[Topic] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    rounds: AtLeastOne = 20,
    steps: AtLeastOne = 40,
    threads: AtLeastOne | None = None,
    output: Path = RESULTS,
    smoke: bool = False,
    released: Path | None = None,
    released_python: str = "python3",
) -> None:
    """Measure each topic on the CPU, then make the tables and plots from the JSON files.

    Parameters
    ----------
    only
        Topics to measure; the others keep their numbers. Topics that take long are measured only
        if they are named here.
    rounds
        Rounds per comparison; topics that take long use fewer.
    steps
        Training steps of each contender per round.
    threads
        Threads of torch [default: torch's own choice].
    output
        Folder for the JSON, tables and plots.
    smoke
        One short round and two sizes per curve, to see whether everything runs.
    released
        Checkout of the paper's released code, to time it as well.
    released_python
        Python interpreter for it, with tensorflow, tensorflow-probability and tf-keras.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    effort = Effort(rounds, steps, smoke, released, released_python)
    if smoke:
        effort = effort._replace(rounds=1, steps=2)
    console = Console(width=120)
    try:
        if released is not None:
            find_module(released)
        make_folder(output, "--output")
        for topic in only or TOPICS:
            record = write_record(output, topic, measure(topic, effort), effort)
            console.print(record["title"], style="bold")
            for aim in record["aims"]:
                console.print("  " + ", ".join(filter(None, aim_cells(aim))), highlight=False)
        write_report(output)
    except HebaeError as error:
        Console(stderr=True).print(f"Error: {error}", markup=False, soft_wrap=True)
        sys.exit(2)
    console.print(f"written: {output / 'README.md'}", soft_wrap=True)


if __name__ == "__main__":
    cyclopts.run(main)
