"""HEBAE over lambda and gamma: its points, what is claimed of them, and the maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from hebae.evaluation import latent
from hebae.experiments.evaluation.metrics.code import MEAN
from hebae.experiments.reproduction.side_by_side import Quantity, cell, middle
from hebae.experiments.reproduction.study import Claim, Drawing, FinishedRun, median, verdict
from hebae.experiments.summary import NO_NOISE
from hebae.report.methods import display_name
from hebae.report.tables import Row, Table, Value
from hebae.report.value_maps import ValueMap, value_maps

__all__ = ["CONDITIONS", "Point", "at_once", "draw_maps", "point_table", "points", "somewhere"]


@dataclass(frozen=True)
class Shown:
    """A quantity of a map: what it is, how it is written, which end of it is the better."""

    quantity: Quantity | None
    title: str
    note: str
    format: str
    better: Literal["higher", "lower", ""] = ""


SHOWN = {
    "reconstruction": Shown(
        Quantity("reconstruction", "log p(x | mu(x))"),
        "Reconstruction",
        "−log p(x|μ(x))",
        ".1f",
        "lower",
    ),
    "elbo": Shown(Quantity("elbo", "ELBO"), "ELBO", "nats", ".1f", "higher"),
    "likelihood": Shown(
        Quantity("iwae", "fitted width"), "log p(x)", "IWAE, fitted width", ".1f", "higher"
    ),
    "samples": Shown(
        Quantity("frechet", ", N(0, I)"), "Samples, N(0, I)", "Frechet distance", ".3g", "lower"
    ),
    "samples-fitted": Shown(
        Quantity("frechet", ", fitted normal"), "Fitted normal", "Frechet distance", ".3g", "lower"
    ),
    "samples-mixture": Shown(
        Quantity("frechet", ", mixture"), "Mixture", "Frechet distance", ".3g", "lower"
    ),
    "whitened": Shown(
        Quantity("moments", f"mean |correlation| of {MEAN}"),
        "Correlation of μ",
        "mean |off-diagonal|",
        ".3f",
        "lower",
    ),
    "information": Shown(Quantity("information", "I(i; z)"), "I(i; z)", "nats", ".2f"),
    "sigma": Shown(None, "σ", "median", ".2g"),
}
CONDITIONS = {
    "samples": ("better samples from N(0, I) than VAE and WAE-MMD", ("vae", "wae")),
    "whitened": ("less correlated codes than VAE and WAE-MMD", ("vae", "wae")),
    "reconstruction": ("a better reconstruction than the VAE", ("vae",)),
    "likelihood": ("a higher log p(x), by IWAE, than the VAE", ("vae",)),
}
"""What the paper claims of HEBAE, each held against the methods named."""


@dataclass(frozen=True)
class Point:
    """Runs that differ in their seed alone."""

    runs: Sequence[FinishedRun]

    @property
    def weight(self) -> float:
        """Lambda."""
        return self.runs[0].planned.settings.penalty_weight

    @property
    def gamma(self) -> float:
        """The rate weight."""
        return self.runs[0].planned.settings.rate_weight

    def value(self, name: str) -> float | None:
        """Return a quantity of `SHOWN`, its median over seeds."""
        quantity = SHOWN[name].quantity
        return self.sigma if quantity is None else middle(self.runs, quantity)

    @cached_property
    def sigma(self) -> float | None:
        """Median of sigma over test examples and dimensions, and over seeds."""
        scales = (run.subject().codes.log_scale for run in self.runs if not run.diverged)
        return median(latent.median_scale(scale) for scale in scales)

    def cell(self, name: str) -> Value:
        """Return what a table shows of it."""
        quantity = SHOWN[name].quantity
        if quantity is None:
            deterministic = self.sigma is None and not all(run.diverged for run in self.runs)
            return NO_NOISE if deterministic else self.sigma
        return cell([run.measurement(*quantity) for run in self.runs])


def points(runs: Sequence[FinishedRun]) -> list[Point]:
    """Return the points of HEBAE's grid, by lambda and gamma."""
    found: dict[tuple[float, float], list[FinishedRun]] = {}
    for run in runs:
        if run.method == "hebae":
            settings = run.planned.settings
            found.setdefault((settings.penalty_weight, settings.rate_weight), []).append(run)
    return [Point(found[key]) for key in sorted(found)]


def somewhere(name: str, grid: Sequence[Point], beside: Mapping[str, Point]) -> Claim:
    """Claim that a condition holds at some point, and name the point where it does best."""
    says, against = CONDITIONS[name]
    sign = _sign(name)
    known = [(sign * value, p) for p in grid if (value := p.value(name)) is not None]
    best = max(known, key=lambda pair: pair[0])[1] if known else None
    numbers = _where(best) | {"hebae": best.value(name) if best else None}
    numbers |= {method: beside[method].value(name) for method in against}
    form = SHOWN[name].format
    others = ", ".join(f"{display_name(method)} {{{method}:{form}}}" for method in against)
    found = f"HEBAE {{hebae:{form}}} at λ = {{lambda:g}}, γ = {{gamma:g}}; {others}"
    holds = _meets(name, best, beside) if best else None
    return Claim(name, f"Some λ and γ give {says}", found, numbers, verdict([holds]), "ours")


def at_once(grid: Sequence[Point], beside: Mapping[str, Point]) -> Claim:
    """Claim that one point meets all conditions; name the one that meets the most.

    Among several of these the one of the highest log p(x).
    """
    told: list[tuple[int, float, Point]] = []
    for point in grid:
        met = [_meets(name, point, beside) for name in CONDITIONS]
        if None not in met:
            told.append((sum(map(bool, met)), point.value("likelihood") or -math.inf, point))
    count, _, best = max(told, key=lambda entry: entry[:2]) if told else (None, None, None)
    numbers: dict[str, float | None] = _where(best) | {"met": count}
    lacking = ""
    if best is not None:
        not_met = [name for name in CONDITIONS if not _meets(name, best, beside)]
        lacking = f"; not met: {', '.join(not_met)}" if not_met else ""
    found = f"{{met:.0f}} of {len(CONDITIONS)} at λ = {{lambda:g}}, γ = {{gamma:g}}{lacking}"
    holds = None if count is None else count == len(CONDITIONS)
    says = "One λ and γ makes all of the paper's claims true at once"
    return Claim("at-once", says, found, numbers, verdict([holds]), "ours")


def _meets(name: str, point: Point, beside: Mapping[str, Point]) -> bool | None:
    sign, ours = _sign(name), point.value(name)
    theirs = [beside[method].value(name) for method in CONDITIONS[name][1]]
    known = [sign * value for value in theirs if value is not None]
    return None if ours is None or len(known) < len(theirs) else sign * ours > max(known)


def _sign(name: str) -> int:
    return 1 if SHOWN[name].better == "higher" else -1


def _where(point: Point | None) -> dict[str, float | None]:
    if point is None:
        return {"lambda": None, "gamma": None}
    return {"lambda": point.weight, "gamma": point.gamma}


def point_table(grid: Sequence[Point], beside: Mapping[str, Point], title: str) -> Table:
    """Tabulate every quantity, a row a point."""
    named = {f"λ = {p.weight:g}, γ = {p.gamma:g}": p for p in grid}
    named |= {f"{display_name(m)}, λ = {p.weight:g}": p for m, p in beside.items()}
    rows = [Row(name, [point.cell(key) for key in SHOWN]) for name, point in named.items()]
    columns = [f"{one.title}, {one.note}" for one in SHOWN.values()]
    return Table(title, columns, rows, ["σ is in units of the deviations of μ."])


def draw_maps(grid: Sequence[Point], title: str) -> Drawing:
    """Draw a map a quantity, lambda upwards, gamma to the right."""
    lambdas = sorted({point.weight for point in grid})
    gammas = sorted({point.gamma for point in grid})
    maps = []
    for name, one in SHOWN.items():
        values = np.full((len(lambdas), len(gammas)), np.nan)
        for point in grid:
            value = point.value(name)
            if value is not None:
                values[lambdas.index(point.weight), gammas.index(point.gamma)] = value
        maps.append(ValueMap(values, one.title, one.note, one.format, one.better))
    figure = value_maps(maps, lambdas, gammas, labels=("λ", "γ"), across=3, title=title)
    caption = (
        "Medians over seeds, of test images. Colours go by rank within a map, the best cell is "
        "framed. σ is in units of the deviations of μ; I(i; z) is at most log N."
    )
    return Drawing("rate", figure, title, caption)
