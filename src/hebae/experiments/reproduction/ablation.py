"""Ablations: runs that differ in one decision, a table of them, and claims over their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.side_by_side import Quantity, middle, side_by_side
from hebae.experiments.reproduction.study import Claim, FinishedRun, verdict
from hebae.report.tables import Table

__all__ = ["Ablation", "Contrast", "Yardstick", "judge", "tabulate"]

Finished = Mapping[str, Sequence[FinishedRun]]
"""By label of the variant: a run a seed."""


class Yardstick(NamedTuple):
    """A number that variants are compared by."""

    key: str
    quantity: Quantity
    format: str
    lower: bool = True
    """Whether the lower is the better."""


class Contrast(NamedTuple):
    """The claim that the first of two variants, named by their labels, does better."""

    says: str
    ours: str
    theirs: str
    by: Yardstick


@dataclass(frozen=True)
class Ablation:
    """One decision.

    Parameters
    ----------
    key, title : str
    variants : mapping of str to sequence of PlannedRun
        By label, a run a seed.
    quantities : sequence of Quantity
        The numbers that matter.
    contrasts : sequence of Contrast
    note : str
        What must be known of it.
    """

    key: str
    title: str
    variants: Mapping[str, Sequence[PlannedRun]]
    quantities: Sequence[Quantity]
    contrasts: Sequence[Contrast]
    note: str

    def finished(self, runs: Mapping[str, FinishedRun]) -> dict[str, list[FinishedRun]]:
        """Return the variants' runs from these, by name; {} if they were left out."""
        found = {
            label: [runs[planned.name] for planned in group if planned.name in runs]
            for label, group in self.variants.items()
        }
        return found if all(found.values()) else {}


def judge(ablation: Ablation, variants: Finished) -> list[Claim]:
    """Hold each contrast to the medians over seeds."""
    claims: dict[str, Claim] = {}
    for one in ablation.contrasts:
        _, quantity, form, lower = one.by
        ours, theirs = (middle(variants[label], quantity) for label in (one.ours, one.theirs))
        better = None
        if ours is not None and theirs is not None:
            better = ours < theirs if lower else ours > theirs
        key = f"{ablation.key}-{one.by.key}"
        while key in claims:  # two pairs of variants, by one yardstick
            key += "-2"
        found = f"{one.ours}: {{ours:{form}}}; {one.theirs}: {{theirs:{form}}}"
        numbers = {"ours": ours, "theirs": theirs}
        claims[key] = Claim(key, one.says, found, numbers, verdict([better]), "ours")
    return list(claims.values())


def tabulate(ablation: Ablation, variants: Finished) -> Table:
    """Set the variants side by side."""
    return side_by_side(variants, ablation.quantities, ablation.title, [ablation.note])
