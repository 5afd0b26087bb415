"""A sweep's runs in rows: for the page and Markdown, for the console, and flat for JSON and CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hebae.experiments.measures import Measures
from hebae.experiments.summary import NO_FLOOR, NO_NOISE, NO_PENALTY, NOT_DEFINED, ONE_DIMENSION
from hebae.experiments.sweep.axes import as_text
from hebae.experiments.sweep.results import SweptRun
from hebae.report.tables import Row, Table, Undefined

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["flat", "tabulate", "to_console"]

DIVERGED = Undefined("the run diverged")
REASONS_SHOWN = 3


@dataclass(frozen=True)
class _Quantity:
    heading: str
    short: str
    """Heading on the console, over two lines, or none: its 80 letters do not hold everything."""
    format: str
    pick: Callable[[Measures], float | None]
    reason: Undefined = NOT_DEFINED

    def text(self, run: SweptRun) -> str | None:
        value = None if run.measures is None else self.pick(run.measures)
        return None if value is None else f"{value:{self.format}}"


# A method's own penalty is its first term; HEBAE with a rate weight has a second.
_RATE = _Quantity("rate (nats)", "rate", ".2f", lambda m: m.penalty.get("rate"))
_QUANTITIES = (
    _Quantity("objective (nats)", "objective", ".1f", lambda m: m.objective),
    _Quantity("reconstruction (nats)", "recon.", ".1f", lambda m: m.reconstruction),
    _Quantity(
        "penalty (its own)", "penalty", ".3f", lambda m: next(iter(m.penalty.values()), None)
    ),
    _Quantity("penalty over noise floor (nats)", "", ".3f", lambda m: m.excess, NO_FLOOR),
    _Quantity("median sigma", "median\nsigma", ".3g", lambda m: m.median_sigma, NO_NOISE),
    _Quantity("mean |correlation|", "|corr.|", ".3f", lambda m: m.correlation, ONE_DIMENSION),
    _Quantity("training (s)", "seconds", ".1f", lambda m: m.seconds),
)


def tabulate(runs: Sequence[SweptRun], title: str) -> Table:
    """Tabulate the runs, one a row; why a run has no number stands below."""
    quantities = _quantities(runs)

    def cell(run: SweptRun, quantity: _Quantity) -> str | Undefined:
        missing = DIVERGED if run.measures is None else quantity.reason
        if run.measures is not None and not run.measures.penalty and "penalty" in quantity.heading:
            missing = NO_PENALTY
        return quantity.text(run) or missing

    return Table(
        title,
        ["state", *(quantity.heading for quantity in quantities)],
        [
            Row(
                ", ".join(f"{name} {as_text(value)}" for name, value in run.values.items()),
                [run.state, *(cell(run, quantity) for quantity in quantities)],
            )
            for run in runs
        ],
        _notes(runs),
    )


def to_console(runs: Sequence[SweptRun], width: int) -> RichTable:
    """Make the table that is printed, a line a run, of as many columns as fit into `width`."""
    from rich.console import Console

    quantities = [quantity for quantity in _quantities(runs) if quantity.short]
    measuring = Console(width=2**16)
    table = _console_table(runs, quantities)
    while len(quantities) > 1 and measuring.measure(table).maximum > width:
        quantities.pop()
        table = _console_table(runs, quantities)
    return table


def _console_table(runs: Sequence[SweptRun], quantities: Sequence[_Quantity]) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    notes = [*_notes(runs), "–: not defined; sweep.md says why, and has more columns."]
    table = RichTable(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption=Text("\n".join(notes), "dim"),
        caption_justify="left",
    )
    for name in runs[0].values:
        table.add_column(Text(name.replace("_", "\n")), vertical="bottom")
    for quantity in quantities:
        table.add_column(Text(quantity.short), justify="right")
    for run in runs:
        cells = [quantity.text(run) or "–" for quantity in quantities]
        if run.state == "diverged":
            cells[0] = "diverged"
        style = "yellow" if run.state == "diverged" else ""
        table.add_row(*map(as_text, run.values.values()), *cells, style=style)
    return table


def flat(run: SweptRun) -> dict[str, Any]:
    """Return a run as one level of names and numbers, in full precision."""
    measures = run.measures.numbers() if run.measures else {}
    numbers = {name: value for name, value in measures.items() if name != "penalty"}
    penalties = {f"penalty_{n}": v for n, v in measures.get("penalty", {}).items()}
    values = {name: as_text(v) if isinstance(v, tuple) else v for name, v in run.values.items()}
    about = {"state": run.state, "reason": run.reason}
    return {"run": run.label, **values, **about, **numbers, **penalties}


def _quantities(runs: Sequence[SweptRun]) -> list[_Quantity]:
    quantities = list(_QUANTITIES)
    if any("rate" in run.measures.penalty for run in runs if run.measures):
        quantities.insert(3, _RATE)
    return quantities


def _notes(runs: Sequence[SweptRun]) -> list[str]:
    notes = []
    if split := next((run.measures.split for run in runs if run.measures), None):
        notes.append(
            f"Of {split} examples, in nats each, but for the MMD, which has no unit. Each method's "
            "objective is its own and, but for a VAE of weight 1, no ELBO."
        )
    diverged = [run for run in runs if run.state == "diverged"]
    notes += [f"{run.label}: {run.reason}" for run in diverged[:REASONS_SHOWN]]
    if len(diverged) > REASONS_SHOWN:
        notes.append(f"{len(diverged) - REASONS_SHOWN} more diverged; sweep.csv says why.")
    return notes
