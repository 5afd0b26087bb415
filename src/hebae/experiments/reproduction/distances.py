"""The Frechet distances that runs were measured by: in which features, of what."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hebae.experiments.evaluation.metrics.samples import SAMPLERS
from hebae.experiments.reproduction.side_by_side import Quantity
from hebae.experiments.reproduction.study import FinishedRun

__all__ = ["ASIDE", "judge", "spaces", "undefined", "whole"]

ASIDE = ("random-convolutional", "pixels", "values")
"""Features by which claims are judged only where there are no better ones."""
_NAME = re.compile(r"frechet\[(?P<space>(?P<features>[^@]+)@[^\]]+)\], ")
_KINDS = {**SAMPLERS, "reconstructions": "reconstructions"}


def spaces(runs: Sequence[FinishedRun]) -> list[str]:
    """Return features and counts, ``inception-v3-compat@10000/4640``, the best judge first."""
    found = dict.fromkeys(
        match["space"]
        for run in runs
        for m in run.kept.by_metric.get("frechet", ())
        if m.value is not None and (match := _NAME.match(m.name))
    )
    return sorted(found, key=lambda space: space.split("@")[0] in ASIDE)


def judge(runs: Sequence[FinishedRun]) -> str:
    """Return the features that claims go by; "" if no run has a distance."""
    return next(iter(spaces(runs)), "")


def whole(space: str, kind: str) -> Quantity:
    """Return the distance in a space of a sampler's samples, or of "reconstructions"."""
    return Quantity("frechet", f"frechet[{space}], {_KINDS[kind]}")


def undefined(runs: Sequence[FinishedRun]) -> list[str]:
    """Say which features could not be had, and why."""
    found = (m for run in runs for m in run.kept.by_metric.get("frechet", ()))
    reasons = dict.fromkeys(m.undefined for m in found if m.name == "frechet" and m.undefined)
    return [f"A Frechet distance is undefined: {reason}" for reason in reasons]
