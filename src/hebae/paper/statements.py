"""Statements about the methods, and their verdicts: one standard for all studies."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hebae.paper.budgets import THREE
from hebae.paper.study import STUDIES, Runs, by_method
from hebae.report.methods import display_name

Values = Sequence[float | None]
"""One number per seed; None where it is undefined."""
Case = bool | str
"""True or False if the seeds decide it; otherwise the reason why they do not."""
Source = Literal["paper", "target", "ours"]
"""Who makes a statement: the paper, a target that was set before the runs, or ourselves."""

ONE_SEED, OVERLAP, MISSING = "one seed", "ranges over seeds overlap", "undefined"


@dataclass(frozen=True)
class Statement:
    """A statement about the methods, and what the runs say about it."""

    key: str
    """Names it within its study."""
    text: str
    result: str
    """What the runs show, with ``{name:.2f}`` in place of a number of `numbers`."""
    numbers: Mapping[str, float | None]
    """None where a number is undefined."""
    verdict: str
    source: Source = "paper"


def order(ours: Values, theirs: Values, *, lower: bool = False) -> Case:
    """Tell whether one method is better than another over several seeds.

    True if every seed of `ours` is better than every seed of `theirs`, False if every one is worse.
    Otherwise the reason why it is undecided: the ranges overlap, or there is one seed.
    """
    sign = -1 if lower else 1
    a, b = ([sign * v for v in values if v is not None] for values in (ours, theirs))
    if min(len(a), len(b)) < 2:
        return ONE_SEED if a and b else MISSING
    if min(a) > max(b):
        return True
    return False if max(a) < min(b) else OVERLAP


def limit(values: Values, bound: float, *, above: bool = False) -> Case:
    """Tell whether all seeds are at most `bound`, or all above it if `above`."""
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return ONE_SEED if known else MISSING
    over = {v > bound for v in known}
    return OVERLAP if len(over) > 1 else over == {above}


def all_of(cases: Iterable[Case]) -> Case:
    """Return True if all are, False if one is, else the first reason why it is undecided."""
    cases = list(cases)
    return False if False in cases else next((c for c in cases if c is not True), True)


def any_of(cases: Iterable[Case]) -> Case:
    """Return True if one is, False if all are, else the first reason why it is undecided."""
    cases = list(cases)
    return True if True in cases else next((c for c in cases if c is not False), False)


def verdict(*cases: Case) -> str:
    """Sum up a statement that consists of one or several cases, such as one per dimension.

    The result is "holds", "does not hold", "holds in part", or "undecided (REASON)".
    """
    if True in cases and False in cases:
        return "holds in part"
    reasons = list(dict.fromkeys(case for case in cases if isinstance(case, str)))
    if reasons or not cases:
        return f"undecided ({'; '.join(reasons) or MISSING})"
    return "holds" if cases[0] else "does not hold"


def compare(study: str, key: str, values: Mapping[str, Values], **names: str) -> Statement:
    """State that HEBAE has the greatest number of all methods, or the least.

    ``studies.yaml`` has the wording, the format, and whether lower is better; `values` are by
    method and seed, and `names` are put into the text.
    """
    words = STUDIES[study]["statements"][key]
    lower, ours = words.get("lower", False), values.get("hebae", ())
    case = all_of(order(ours, v, lower=lower) for name, v in values.items() if name != "hebae")
    shown, numbers = describe_methods(values, words["form"])
    text, result = words["text"].format(**names), f"{words['what']}: {shown}"
    return Statement(key, text, result, numbers, verdict(case), words.get("source", "paper"))


def compare_all(study: str, runs: Runs, **names: str) -> list[Statement]:
    """Return all statements of a study whose measurements the runs have; see `compare`."""
    return [
        compare(study, key, values_of(runs, words["of"], words.get("methods", THREE)), **names)
        for key, words in STUDIES[study]["statements"].items()
        if any(run.measurement(words["of"]) for run in runs)
    ]


def values_of(runs: Runs, id: str, methods: Sequence[str] = THREE) -> dict[str, Values]:
    """Return the values of a measurement by method, one per run."""
    groups = by_method(runs).items()
    return {
        method: [run.value(id) for run in group] for method, group in groups if method in methods
    }


def median(values: Values) -> float | None:
    """Return the median over the seeds that have a value; None if none has."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def describe(name: str, values: Values, form: str) -> tuple[str, dict[str, float | None]]:
    """Return result and numbers of a `Statement`: the median, with the range over several seeds."""
    known = [value for value in values if value is not None]
    result, numbers = f"{{{name}:{form}}}", {name: median(values)}
    if len(known) > 1:
        result += f" [{{{name}_least:{form}}}, {{{name}_greatest:{form}}}]"
        numbers |= {f"{name}_least": min(known), f"{name}_greatest": max(known)}
    return result, numbers


def describe_methods(
    by_method: Mapping[str, Values], form: str, suffix: str = ""
) -> tuple[str, dict[str, float | None]]:
    """Return result and numbers, which are named by method and `suffix`."""
    results: list[str] = []
    all_numbers: dict[str, float | None] = {}
    for method, values in by_method.items():
        result, numbers = describe(f"{method}{suffix}", values, form)
        results.append(f"{display_name(method)} {result}")
        all_numbers |= numbers
    return ", ".join(results), all_numbers
