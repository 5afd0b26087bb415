"""The Frechet distances that runs were measured by: in which features, of what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from hebae.experiments.evaluation.metrics.samples import SAMPLERS
from hebae.experiments.reproduction.claims import best
from hebae.experiments.reproduction.faces import METHODS
from hebae.experiments.reproduction.grids import Grid
from hebae.experiments.reproduction.study import Claim, FinishedRun, Whose, median

__all__ = ["KINDS", "compare", "distances", "undefined"]

KINDS = {words: kind for kind, words in SAMPLERS.items()} | {"reconstructions": "reconstructions"}
"""By the end of a measurement's name: what is judged."""
ASIDE = ("random-convolutional", "pixels", "values")
"""Features by which claims go only where there are no better ones."""
_NAME = re.compile(r"frechet\[(?P<features>[^@]+)@[^\]]+\], (?P<words>.+)")


def distances(runs: Sequence[FinishedRun]) -> dict[str, dict[str, str]]:
    """Return the names of the distances by features, the best judge first, and by kind.

    A name bears the counts of samples and references, which differ between kinds: there are as
    many reconstructions as test examples.
    """
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        for m in run.kept.by_metric.get("frechet", ()):
            match = _NAME.fullmatch(m.name)
            if match and match["words"] in KINDS and m.value is not None:
                found.setdefault(match["features"], {})[KINDS[match["words"]]] = m.name
    return dict(sorted(found.items(), key=lambda item: item[0] in ASIDE))


def undefined(runs: Sequence[FinishedRun]) -> list[str]:
    """Say which features could not be had, and why."""
    found = (m for run in runs for m in run.kept.by_metric.get("frechet", ()))
    reasons = (m.undefined for m in found if m.name == "frechet" and m.undefined)
    # What to do about it names folders of the machine that measured.
    shown = dict.fromkeys(reason.partition(": put a copy at ")[0].rstrip(".") for reason in reasons)
    return [f"A Frechet distance is undefined: {reason}." for reason in shown]


def compare(
    key: str, says: str, grid: Grid, *, spread: bool = False, whose: Whose = "paper"
) -> Claim:
    """Claim that HEBAE's distance is the least, medians over seeds.

    Parameters
    ----------
    key, says : str
        See `Claim`.
    grid : Grid
        By lambda, in units of the preset's; of one k, or empty.
    spread : bool
        Compare how far the distance varies along lambda, the greatest over the least, and not the
        distances at the preset's lambda. It is undefined of a method that has none at some lambda
        where another has, and the claim does not hold of HEBAE if that is the one.
    whose : Whose
    """
    medians: dict[str, dict[float, float]] = {method: {} for method in METHODS}
    for by_method in grid.values():
        for method, by_weight in by_method.items():
            medians[method] |= {w: v for w, values in by_weight.items() if (v := median(values))}
    if not spread:
        at_one = {method: by_weight.get(1.0) for method, by_weight in medians.items()}
        return best(key, says, "Frechet distance", at_one, ".3g", lower=True, whose=whose)
    weights = {w for by_weight in medians.values() for w in by_weight}
    ratios = {
        method: max(v.values()) / min(v.values())
        if len(weights) > 1 and set(v) == weights
        else None
        for method, v in medians.items()
    }
    what = "greatest over least distance along λ"
    claim = best(key, says, what, ratios, ".3g", lower=True, whose=whose)
    some = bool(medians["hebae"]) and any(value is not None for value in ratios.values())
    return replace(claim, verdict="does not hold") if some and ratios["hebae"] is None else claim
