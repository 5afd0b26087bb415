"""Ablations: the effect of each decision on which the paper and its released code differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hebae.experiments.plan import PlannedRun
from hebae.experiments.table import tabulate
from hebae.paper import faces
from hebae.paper.budgets import THREE, Budget, Plan
from hebae.paper.statements import Statement, median, order, verdict
from hebae.paper.study import STUDIES, Findings, Runs, Study
from hebae.report.methods import display_name

BATCHES = (72, 100, 128, 256, 512, 1000)
"""For k = 64. With 64 examples or fewer, Σ is singular and training is refused."""
METRICS = ("objective", "reconstruction", "moments", "iwae", "elbo", "frechet")
FACE_METRICS = ("reconstruction", "frechet", "moments")


def decisions(budget: Budget) -> dict[str, dict[str, Plan]]:
    """Return the variants of each decision by label, one run per seed."""

    def mnist(method: str = "hebae", k: int = 20, **changes: Any) -> Plan:
        return [budget.mnist(method, k, seed=seed, **changes) for seed in budget.seeds]

    def celeba(**changes: Any) -> Plan:
        return [faces.face_run(budget, "hebae", seed=seed, **changes) for seed in budget.seeds]

    sizes = BATCHES[1::4] if budget.is_smoke else BATCHES
    return {
        "noise": {"Cholesky": mnist(), "diagonal": mnist(noise="diagonal")},
        "scale": {"vector": mnist(), "scalar": mnist(scale="scalar")},
        "batch": {f"m = {m}": mnist(k=64, batch_size=m) for m in sizes},
        "batch-norm": {"by batches": celeba(), "frozen": celeba(batch_norm="frozen")},
        "released": {
            f"{display_name(method)}, {preset}": mnist(method, preset=preset)
            for method in THREE
            for preset in ("mnist", "mnist-released")
        },
    }


def pairs(decision: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Return the variants that are compared; the first of a pair is expected to be better."""
    if decision == "released":
        return list(zip(labels[::2], labels[1::2], strict=True))
    first, *_, last = labels
    return [(last, first) if decision == "batch" else (first, last)]


def plan(budget: Budget) -> Plan:
    """All variants of all decisions."""
    groups = [group for variants in decisions(budget).values() for group in variants.values()]
    return [run for group in groups for run in group]


def metrics(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """Penalties, moments, bounds and samples; no bounds for faces; the fast ones for smoke."""
    if run.settings.network != "mlp":
        return FACE_METRICS
    return METRICS[:4] if budget.is_smoke else METRICS


def conclude(budget: Budget, runs: Runs) -> Findings:
    """Tabulate each decision and compare its variants."""
    by_label = {run.label: run for run in runs}
    texts = STUDIES["ablations"]
    statements, tables, notes = [], [], []
    for key, planned_variants in decisions(budget).items():
        title, note = texts["decisions"][key]["title"], texts["decisions"][key]["note"]
        variants = {
            label: [by_label[planned.label] for planned in group if planned.label in by_label]
            for label, group in planned_variants.items()
        }
        if all(variants.values()):
            statements += state(key, variants)
            tables.append(tabulate(variants, title, [note], ids=texts["rows"]))
        else:
            notes.append(texts["notes"]["missing"].format(title=title))
    return Findings(statements, tables, notes=[*notes, *faces.notes(budget)])


def state(decision: str, variants: Mapping[str, Runs]) -> list[Statement]:
    """Compare the variants of one decision by each of its criteria."""
    statements: dict[str, Statement] = {}
    for first, second in pairs(decision, list(variants)):
        for by, text in STUDIES["ablations"]["decisions"][decision]["statements"].items():
            criterion = STUDIES["ablations"]["criteria"][by]
            id, form = criterion["id"], criterion["form"]
            ours, theirs = ([run.value(id) for run in variants[one]] for one in (first, second))
            key = f"{decision}-{by}"
            while key in statements:  # two pairs of variants, compared by one criterion
                key += "-2"
            text = text.format(method=first.split(",")[0])
            result = f"{first}: {{ours:{form}}}; {second}: {{theirs:{form}}}"
            numbers = {"ours": median(ours), "theirs": median(theirs)}
            case = order(ours, theirs, lower=criterion["lower"])
            statements[key] = Statement(key, text, result, numbers, verdict(case), "ours")
    return list(statements.values())


EVALUATION = {"iwae_samples": 500, "samplers": ("normal", "mixture")}
STUDY = Study("ablations", plan, metrics, conclude, EVALUATION, optional=("celeba",))
