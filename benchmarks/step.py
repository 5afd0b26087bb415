"""Time a training step: HEBAE against a bare PyTorch loop, and against the other methods.

The contenders take turns, so that what else the machine does falls on all of them, and each is
compared with HEBAE within a round: the median of those ratios is held to the target.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import cyclopts
import torch
from breakdown import breakdown
from contenders import CONTENDERS, SETTINGS, make_examples
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hebae.data import load
from hebae.provenance import provenance

AtLeastOne = Annotated[int, cyclopts.Parameter(validator=Number(gte=1))]


class Comparison(NamedTuple):
    """Two contenders, and how many times as long the first may take (None: for the record)."""

    name: str
    reference: str
    target: float | None


COMPARISONS = (
    Comparison("hebae", "bare", 1.03),
    Comparison("hebae", "bare, float32", None),
    Comparison("hebae", "vae", 1.15),
    Comparison("hebae", "wae", None),
    Comparison("hebae", "ae", None),
)


class Reading(NamedTuple):
    """Clocks in seconds and page faults: at a moment, or a step's share of what passed."""

    wall: float
    cpu: float
    """Of all threads together."""
    page_faults: float
    """Memory that was given back to the system and had to be asked for again, among others."""

    @classmethod
    def now(cls) -> Reading:
        """Read the clocks and the counter."""
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        return cls(time.perf_counter(), time.process_time(), faults)


Readings = dict[str, list[Reading]]
"""What a step took, by contender and round."""


def measure(rounds: int, steps: int, console: Console) -> Readings:
    """Let the contenders take turns for `rounds` stretches of `steps` steps each."""
    examples = make_examples(steps)
    readings: Readings = {name: [] for name in CONTENDERS}
    for round_ in track(range(rounds), "measuring", console=console, transient=True):
        # There and back again, so that a machine that is slowing down favours nobody.
        for name in list(CONTENDERS)[:: 1 if round_ % 2 == 0 else -1]:
            marks: list[Reading] = []
            CONTENDERS[name](examples, lambda marks=marks: marks.append(Reading.now()))
            begin, end = marks
            passed = ((after - before) / steps for before, after in zip(begin, end, strict=True))
            readings[name].append(Reading(*passed))
    return readings


def ratios(readings: Readings, comparison: Comparison, clock: str = "wall") -> list[float]:
    """Time of a comparison's first contender over that of its second, round by round."""
    pairs = zip(readings[comparison.name], readings[comparison.reference], strict=True)
    return [getattr(ours, clock) / getattr(theirs, clock) for ours, theirs in pairs]


def table_of_times(readings: Readings) -> Table:
    """Tabulate what a step of each contender took; CPU time and page faults are medians."""
    table = Table(title="Milliseconds a step")
    table.add_column("")
    for heading in ("median", "min", "max", "CPU", "page faults"):
        table.add_column(heading, justify="right")
    for name, rows in readings.items():
        wall = [1e3 * row.wall for row in rows]
        cpu = statistics.median(1e3 * row.cpu for row in rows)
        faults = statistics.median(row.page_faults for row in rows)
        table.add_row(name, *_spread(wall), f"{cpu:.2f}", f"{faults:,.0f}")
    return table


def table_of_ratios(readings: Readings) -> Table:
    """Tabulate how the contenders compare within a round, and whether that meets the targets."""
    table = Table(title="Ratios within a round")
    table.add_column("")
    for heading in ("median", "min", "max", "CPU", "target"):
        table.add_column(heading, justify="right")
    for comparison in COMPARISONS:
        wall = ratios(readings, comparison)
        cpu = statistics.median(ratios(readings, comparison, "cpu"))
        name = f"{comparison.name} / {comparison.reference}"
        table.add_row(name, *_spread(wall), f"{cpu:.2f}", _verdict(wall, comparison.target))
    return table


def _spread(values: Sequence[float]) -> list[str]:
    return [f"{f(values):.2f}" for f in (statistics.median, min, max)]


def _verdict(values: Sequence[float], target: float | None) -> str:
    if target is None:
        return ""
    met = statistics.median(values) <= target
    return f"≤ {target:.2f} {'[green]met' if met else '[red]missed'}"


def main(
    *,
    rounds: AtLeastOne = 30,
    steps: AtLeastOne = 40,
    threads: AtLeastOne | None = None,
    output: Path | None = None,
    profile: bool = False,
) -> None:
    """Time a training step of HEBAE, a bare PyTorch loop and the other methods, on the CPU.

    Parameters
    ----------
    rounds
        Stretches of each contender, in turn.
    steps
        Training steps in a stretch.
    threads
        Of torch; its own default otherwise.
    output
        JSON file for all readings, with machine, versions and commit.
    profile
        Show instead where a step's time goes, operator by operator.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    console = Console()
    if profile:
        console.print(breakdown(make_examples(steps)))
        return
    readings = measure(rounds, steps, console)
    console.print(table_of_times(readings), table_of_ratios(readings))
    origin = provenance(
        " ".join(["python", *sys.argv]),
        load(make_examples(1), validation_size=0),
        SETTINGS,
        [SETTINGS.seed],
    )
    kept = ("machine", "versions", "commit", "command", "date")
    origin = {name: origin[name] for name in kept}
    console.print(f"{origin['machine']}; {origin['versions']}; {origin['commit']}")
    if output is not None:
        record = {
            **origin,
            "threads": torch.get_num_threads(),
            "batch_size": SETTINGS.batch_size,
            "latent_dim": SETTINGS.latent_dim,
            "rounds": rounds,
            "steps": steps,
            "per_step": {n: [row._asdict() for row in rows] for n, rows in readings.items()},
            "ratios": [
                {**comparison._asdict(), "ratios": ratios(readings, comparison)}
                for comparison in COMPARISONS
            ],
        }
        output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cyclopts.run(main)
