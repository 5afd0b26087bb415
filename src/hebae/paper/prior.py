"""Learned priors: whether HEBAE keeps all of the paper's promises once the prior is learned too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from hebae.experiments.table import tabulate
from hebae.experiments.trained_run import RunResult
from hebae.paper.budgets import Budget, Plan
from hebae.paper.statements import (
    Case,
    Statement,
    all_of,
    any_of,
    describe,
    limit,
    median,
    order,
    verdict,
)
from hebae.paper.study import STUDIES, Drawing, Findings, Runs, Study, headings
from hebae.report.ranges import RangePanel, RowLabel, range_panels

TEXTS = STUDIES["prior"]
QUANTITIES, PRIORS = TEXTS["quantities"], TEXTS["priors"]
RATE = {"rate_weight": 1.0}
"""With it, HEBAE's loss without the whitening term is the negative ELBO, as the VAE's is."""
PARTS: Mapping[str, dict[str, Any]] = {
    "unwhitened": {"penalty_weight": 0.0},
    "diagonal": {"noise": "diagonal"},
    "diagonal, unwhitened": {"noise": "diagonal", "penalty_weight": 0.0},
}
"""Variants of HEBAE with a flow, by name: which part of it does what."""


class Variant(NamedTuple):
    """A row of the table: its label, and how its runs differ from the preset."""

    label: str
    method: str
    changes: dict[str, Any]

    def planned(self, budget: Budget, k: int) -> Plan:
        """Plan one run per seed."""
        return [
            budget.mnist(self.method, k, seed=seed, **self.changes) for seed in budget.table_seeds
        ]


def variants(budget: Budget) -> dict[str, Variant]:
    """Return the variants by key: HEBAE and VAE with each prior, WAE-MMD, and the parts."""
    found = {}
    priors = ["normal", "mixture"] if budget.is_smoke else [*PRIORS]
    for prior in priors:
        own = {} if prior == "normal" else {"prior": prior}
        found[f"hebae-{prior}"] = Variant(f"HEBAE, {PRIORS[prior]}", "hebae", RATE | own)
        found[f"vae-{prior}"] = Variant(f"VAE, {PRIORS[prior]}", "vae", own)
    found["wae"] = Variant("WAE-MMD, N(0, I)", "wae", {})
    for name, changes in PARTS.items():
        flow = {"prior": priors[-1]}
        label = TEXTS["parts"][name].format(prior=PRIORS[priors[-1]])
        found[name] = Variant(label, "hebae", RATE | flow | changes)
    return found


def plan(budget: Budget) -> Plan:
    """Every variant with the seeds of a table; MNIST, k = 20."""
    k = 4 if budget.is_smoke else 20
    return [run for variant in variants(budget).values() for run in variant.planned(budget, k)]


def conclude(budget: Budget, runs: Runs) -> Findings:
    """Compare HEBAE with the VAE at each prior, and test the paper's promises at once."""
    k = runs[0].settings.latent_dim
    by_label = {run.label: run for run in runs}
    found: dict[str, list[RunResult]] = {}
    labels = {}
    for key, variant in variants(budget).items():
        labels[key] = variant.label
        found[key] = [by_label[p.label] for p in variant.planned(budget, k) if p.label in by_label]
    priors = [key.removeprefix("vae-") for key in found if key.startswith("vae-")]
    title = f"Learned priors, MNIST, k = {k}"
    statements = [
        *(state(name, priors, found) for name in TEXTS["conditions"]),
        at_once(priors, found, k),
        *targets(priors, found),
        *parts(found),
    ]
    named = {labels[key]: group for key, group in found.items()}
    drawing = Drawing("prior", draw(labels, found, title), title, TEXTS["caption"])
    notes = list(TEXTS["notes"].values())
    table = tabulate(named, title, ids=headings(QUANTITIES))
    return Findings(statements, [table.transposed()], [drawing], notes)


Found = Mapping[str, Sequence[RunResult]]


def values(found: Found, key: str, quantity: str) -> list[float | None]:
    """Return a quantity of a variant, one value per seed."""
    return [run.value(QUANTITIES[quantity]["id"]) for run in found[key]]


def _case(name: str, prior: str, found: Found) -> Case:
    """Tell whether a promise of `TEXTS["conditions"]` is kept with this prior."""
    condition = TEXTS["conditions"][name]
    quantity = condition["of"]
    ours = values(found, f"hebae-{prior}", quantity)
    if name == "active":
        k = found[f"hebae-{prior}"][0].settings.latent_dim
        return limit(ours, k - 0.5, above=True)
    lower = QUANTITIES[quantity]["better"] == "lower"
    others = [f"vae-{prior}", *(["wae"] if condition.get("wae") else [])]
    return all_of(order(ours, values(found, other, quantity), lower=lower) for other in others)


def state(name: str, priors: Sequence[str], found: Found) -> Statement:
    """State that a promise is kept with every prior."""
    condition = TEXTS["conditions"][name]
    quantity = condition["of"]
    form = QUANTITIES[quantity]["form"]
    numbers: dict[str, float | None] = {}
    results = []
    for prior in priors:
        for method in ("hebae", "vae"):
            numbers[f"{method}_{prior}"] = median(values(found, f"{method}-{prior}", quantity))
        pair = f"HEBAE {{hebae_{prior}:{form}}}, VAE {{vae_{prior}:{form}}}"
        results.append(f"{PRIORS[prior]}: {pair}")
    if condition.get("wae"):
        numbers["wae"] = median(values(found, "wae", quantity))
        results.append(f"WAE-MMD {{wae:{form}}}")
    cases = [_case(name, prior, found) for prior in priors]
    return Statement(name, condition["text"], "; ".join(results), numbers, verdict(*cases), "ours")


def at_once(priors: Sequence[str], found: Found, k: int) -> Statement:
    """State that with one prior all promises are kept; the result names the promises of each."""
    results, numbers = [], {}
    for prior in priors:
        kept = [name for name in TEXTS["conditions"] if _case(name, prior, found) is True]
        numbers[prior] = float(len(kept))
        missing = [name for name in TEXTS["conditions"] if name not in kept]
        without = f" (not {', '.join(missing)})" if missing else ""
        results.append(f"{PRIORS[prior]}: {{{prior}:.0f}}{without}")
    case = any_of(
        all_of(_case(name, prior, found) for name in TEXTS["conditions"]) for prior in priors
    )
    result = f"promises kept in every seed, of {len(TEXTS['conditions'])}: {'; '.join(results)}"
    return Statement("at-once", TEXTS["at_once"], result, numbers, verdict(case), "ours")


def targets(priors: Sequence[str], found: Found) -> list[Statement]:
    """Hold HEBAE with each learned prior against the numbers that were set beforehand."""
    statements = []
    for prior, (key, words) in product(priors, TEXTS["targets"].items()):
        if prior == "normal":
            continue
        numbers = values(found, f"hebae-{prior}", words["of"])
        if words.get("gain"):  # a difference between seeds of the same number
            others = values(found, f"vae-{prior}", words["of"])
            pairs = zip(numbers, others, strict=True)
            numbers = [None if a is None or b is None else a - b for a, b in pairs]
        case = limit(numbers, words["limit"], above=words.get("above", False))
        result, numbered = describe("value", numbers, words["form"])
        text = f"HEBAE, {PRIORS[prior]}: {words['text']}"
        name = f"target-{key}-{prior}"
        statements.append(Statement(name, text, result, numbered, verdict(case), "target"))
    return statements


def parts(found: Found) -> list[Statement]:
    """Compare HEBAE with a flow and one part of it changed: which part does what."""
    statements = []
    for key, words in TEXTS["comparisons"].items():
        if not {words["better"], words["worse"]} <= found.keys():
            continue
        one = QUANTITIES[words["of"]]
        ours, theirs = (values(found, words[side], words["of"]) for side in ("better", "worse"))
        first, second = words["names"]
        result = f"{first} {{ours:{one['form']}}}; {second} {{theirs:{one['form']}}}"
        numbers = {"ours": median(ours), "theirs": median(theirs)}
        case = order(ours, theirs, lower=one["better"] == "lower")
        statements.append(Statement(key, words["text"], result, numbers, verdict(case), "ours"))
    return statements


def draw(labels: Mapping[str, str], found: Found, title: str) -> Any:
    """Draw the main quantities, one row per variant, grouped by prior."""
    shown = [key for key, group in found.items() if group]
    rows = [RowLabel(labels[key], found[key][0].method) for key in shown]
    panels = []
    for name, one in QUANTITIES.items():
        if not one.get("drawn"):
            continue
        numbers = [[v for v in values(found, key, name) if v is not None] for key in shown]
        panels.append(
            RangePanel(numbers, one["title"], one["note"], one.get("better", ""), one.get("mark"))
        )
    pairs = sum(key.startswith("vae-") for key in shown)
    breaks = [*range(2, 2 * pairs + 1, 2), 2 * pairs + 1]
    return range_panels(rows, panels, breaks=breaks, title=title)


METRICS = ("reconstruction", "elbo", "iwae", "frechet", "moments", "information")
STUDY = Study(
    "prior",
    plan,
    METRICS,
    conclude,
    {"iwae_samples": 500, "samplers": ("prior", "normal", "mixture")},
)
