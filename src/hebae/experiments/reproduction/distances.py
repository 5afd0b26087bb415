"""The Frechet distances that runs were measured by: in which features, of what."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hebae.experiments.evaluation.metrics.samples import SAMPLERS
from hebae.experiments.reproduction.study import FinishedRun

__all__ = ["KINDS", "distances", "undefined"]

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
    reasons = dict.fromkeys(m.undefined for m in found if m.name == "frechet" and m.undefined)
    return [f"A Frechet distance is undefined: {reason}" for reason in reasons]
