"""Train VAE and WAE-MMD with `hebae` and with pythae, and compare the results.

A study of minutes, outside CI: ``python benchmarks/agreement.py --examples 10000 --epochs 5``, with
MNIST where HEBAE_DATA_DIR names it and with the digits that come with the package otherwise.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts
import torch
from cyclopts.validators import Number
from records import RESULTS, write_record
from report import write_report
from results import Effort
from rich.console import Console
from rich.table import Table
from topics import agreement

from hebae.errors import HebaeError
from hebae.files import make_folder

AtLeastOne = Annotated[int, cyclopts.Parameter(validator=Number(gte=1))]
AtLeastTwo = Annotated[int, cyclopts.Parameter(validator=Number(gte=2))]


def main(
    *,
    examples: AtLeastOne = 10_000,
    epochs: AtLeastOne = 5,
    seeds: AtLeastTwo = 3,
    threads: AtLeastOne | None = None,
    output: Path = RESULTS,
) -> None:
    """Compare the results of two trainers.

    Parameters
    ----------
    examples
        Training images, the first of the data set.
    epochs
        Passes over them.
    seeds
        Runs of each method and trainer.
    threads
        Of torch; its own default otherwise.
    output
        Folder for ``agreement.json``, and for the report that it is shown in.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        make_folder(output, "--output")
        result = agreement.measure(Effort(), examples, epochs, seeds)
        write_record(output, "agreement", result, Effort(rounds=seeds))
        write_report(output)
    except HebaeError as error:
        Console(stderr=True).print(f"Error: {error}", markup=False, soft_wrap=True)
        sys.exit(2)
    for numbers in result.tables:
        table = Table(*numbers.columns, title=numbers.title)
        for row in numbers.rows:
            table.add_row(*row)
        Console().print(table)


if __name__ == "__main__":
    cyclopts.run(main)
