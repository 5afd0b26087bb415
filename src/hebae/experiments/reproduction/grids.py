"""Runs over a grid of latent dimension, weight and seed: their numbers, lined up and compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from hebae.experiments.reproduction.study import Claim, FinishedRun, median, verdict
from hebae.report.lines import LinePanel, line_grid
from hebae.report.methods import display_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Grid", "Numbers", "against_epochs", "against_weight", "compare"]

Grid = Mapping[int, Mapping[str, Mapping[float, Sequence[float]]]]
"""By k, by method, by x (an epoch, or lambda): the values of the seeds that have one."""


class Numbers:
    """What came of the runs of a grid.

    Parameters
    ----------
    runs : sequence of FinishedRun
    weight_at_one : mapping of str to float
        By method, the penalty weight that stands where lambda is 1; 1 if not named.
    """

    def __init__(self, runs: Sequence[FinishedRun], weight_at_one: Mapping[str, float]) -> None:
        self.runs = runs
        self.weight_at_one = weight_at_one
        self._records: list[dict[str, Any]] = []

    def weight(self, run: FinishedRun) -> float:
        """Return lambda of a run, in units of its method's own weight."""
        found = run.planned.settings.penalty_weight / self.weight_at_one.get(run.method, 1.0)
        return float(f"{found:.4g}")

    def objectives_by_epoch(self, weight: float) -> Grid:
        """Return the held-out objective at each epoch, of the runs of one lambda."""
        found = self._grid()
        for run in self.runs:
            if self.weight(run) != weight:
                continue
            for epoch, value in _objectives(run).items():
                self._keep(found, run, epoch, "objective", value, epoch=epoch)
        return found

    def last_objectives(self) -> Grid:
        """Return the held-out objective of the last epoch by lambda."""
        return self._of_each("last objective", lambda run: _last(_objectives(run)))

    def best_objectives(self) -> Grid:
        """Return the best held-out objective over the epochs, by lambda."""
        return self._of_each(
            "best objective", lambda run: max(_objectives(run).values(), default=None)
        )

    def values(self, metric: str, words: str) -> Grid:
        """Return a measurement by lambda; see `FinishedRun.measurement`."""
        return self._of_each(None, lambda run: run.value(metric, words), metric, words)

    def records(self) -> list[dict[str, Any]]:
        """Return all that was asked for, a record a number, for the CSV."""
        return self._records

    def draw(self, rows: Sequence[Mapping[int, LinePanel]], title: str) -> Figure:
        """Draw rows of panels, a column a k."""
        return line_grid([list(row.values()) for row in rows], title=title)

    def _grid(self) -> dict[int, dict[str, dict[float, list[float]]]]:
        dimensions = sorted({run.planned.settings.latent_dim for run in self.runs})
        return {k: defaultdict(lambda: defaultdict(list)) for k in dimensions}

    def _of_each(
        self,
        quantity: str | None,
        pick: Callable[[FinishedRun], float | None],
        metric: str = "",
        words: str = "",
    ) -> Grid:
        found = self._grid()
        for run in self.runs:
            measurement = run.measurement(metric, words)
            if metric and measurement is None and not run.diverged:
                continue  # it was not asked for
            name = quantity or (measurement.name if measurement else words)
            error = measurement.standard_error if measurement else None
            self._keep(found, run, self.weight(run), name, pick(run), error=error)
        return found

    def _keep(
        self,
        grid: dict[int, dict[str, dict[float, list[float]]]],
        run: FinishedRun,
        x: float,
        quantity: str,
        value: float | None,
        *,
        epoch: float | None = None,
        error: float | None = None,
    ) -> None:
        settings = run.planned.settings
        if value is not None:
            grid[settings.latent_dim][run.method][x].append(value)
        self._records.append(
            {
                "method": run.method,
                "k": settings.latent_dim,
                "penalty_weight": settings.penalty_weight,
                "seed": settings.seed,
                "epoch": settings.epochs if epoch is None else epoch,
                "quantity": quantity,
                "value": value,
                "standard_error": error,
            }
        )


def against_epochs(grid: Grid, methods: Sequence[str], label: str) -> dict[int, LinePanel]:
    """Make a row of panels over the epochs, by k."""
    return {
        k: LinePanel(_lines(grid, k, methods), f"k = {k}", x_label="epoch", y_label=label)
        for k in grid
    }


def against_weight(grid: Grid, methods: Sequence[str], label: str) -> dict[int, LinePanel]:
    """Make a row of panels over lambda, by k, values below 0 on a logarithmic axis."""
    return {
        k: LinePanel(
            _lines(grid, k, methods),
            x_label="λ",
            y_label=label,
            x_scale="log",
            y_scale="negative log",
            mark=1.0,
        )
        for k in grid
    }


def compare(
    key: str,
    what: str,
    grid: Grid,
    *,
    spread: bool = False,
    whose: Literal["paper", "ours"] = "paper",
) -> Claim:
    """Hold HEBAE against the VAE at each k.

    Parameters
    ----------
    key : str
        See `Claim`.
    what : str
        What is compared: "HEBAE's ELBO".
    grid : Grid
        By lambda.
    spread : bool
        Compare the ranges over lambda, of which the smaller is the better, and not the values at
        lambda = 1, of which the greater is.
    whose : "paper" or "ours"
    """
    numbers: dict[str, float | None] = {}
    parts: list[str] = []
    conditions: list[bool | None] = []
    for k, by_method in grid.items():
        ours, theirs = (_sum_up(by_method.get(m, {}), spread) for m in ("hebae", "vae"))
        numbers |= {f"hebae_k{k}": ours, f"vae_k{k}": theirs}
        parts.append(f"k = {k}: {{hebae_k{k}:,.1f}} against {{vae_k{k}:,.1f}}")
        if ours is None or theirs is None:
            conditions.append(None)
        else:
            conditions.append(ours < theirs if spread else ours > theirs)
    says = "depends less on λ than the VAE's" if spread else "is higher than the VAE's (λ = 1)"
    of = "greatest less least over λ" if spread else "λ = 1"
    found = f"{of}, {display_name('hebae')} against {display_name('vae')}: {'; '.join(parts)}"
    return Claim(key, f"{what} {says}", found + " nats", numbers, verdict(conditions), whose)


def _sum_up(by_weight: Mapping[float, Sequence[float]], spread: bool) -> float | None:
    """Take the median over seeds at lambda = 1, or the range of the medians over lambda."""
    if not spread:
        return median(by_weight.get(1.0, ()))
    medians = [value for values in by_weight.values() if (value := median(values)) is not None]
    return max(medians) - min(medians) if len(medians) > 1 else None


def _lines(
    grid: Grid, k: int, methods: Sequence[str]
) -> dict[str, Mapping[float, Sequence[float]]]:
    return {method: grid[k].get(method, {}) for method in methods}


def _objectives(run: FinishedRun) -> dict[int, float]:
    """Return the held-out objective by epoch; nothing of a run that diverged."""
    if run.diverged:
        return {}
    records = {record["epoch"]: record.get("held_out") or {} for record in run.history()}
    return {
        e: terms["objective"] for e, terms in records.items() if terms.get("objective") is not None
    }


def _last(by_epoch: Mapping[int, float]) -> float | None:
    return by_epoch[max(by_epoch)] if by_epoch else None
