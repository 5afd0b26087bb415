"""Binary MNIST: log p(x) in the setting that the literature uses, beside published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hebae.experiments.table import tabulate
from hebae.experiments.trained_run import RunResult
from hebae.paper.budgets import Budget, Plan
from hebae.paper.statements import Statement, describe, order, verdict
from hebae.paper.study import STUDIES, Drawing, Findings, Runs, Study, headings
from hebae.report.ranges import RangePanel, RowLabel, range_panels
from hebae.report.tables import Row, Table

TEXTS = STUDIES["binary"]
QUANTITIES = TEXTS["quantities"]
LIKELIHOOD = QUANTITIES["likelihood"]["id"]
FIXED = "binarized-mnist"
PRESET = "mnist-binary"


class Variant(NamedTuple):
    """A row of the table: its label, and how its runs differ from the preset."""

    label: str
    method: str
    changes: Mapping[str, Any]


def variants(budget: Budget) -> dict[str, Variant]:
    """Return the variants of both binarisations: HEBAE and VAE, N(0, I) and learned priors."""
    found = {}
    fixed: dict[str, Any] = {"binarize": "fixed"}
    if not budget.is_smoke:  # the binarisation of Larochelle and Murray, with its own validation
        fixed = {"data": FIXED, "binarize": "none", "validation_size": None}
    for images, changes in {"dynamic": {}, "fixed": fixed}.items():
        for name in TEXTS["variants"][budget.name][images]:
            method, prior = name.split("-")
            own = {} if prior == "normal" else {"prior": prior}
            label = f"{images}: {TEXTS['methods'][method]}, {TEXTS['priors'][prior]}"
            found[f"{images}-{name}"] = Variant(label, method, {**changes, **own})
    return found


def _planned(budget: Budget, variant: Variant) -> Plan:
    return [
        budget.run(PRESET, variant.method, seed=seed, **variant.changes) for seed in budget.seeds
    ]


def plan(budget: Budget) -> Plan:
    """Every variant with the seeds of the budget."""
    return [run for variant in variants(budget).values() for run in _planned(budget, variant)]


def conclude(budget: Budget, runs: Runs) -> Findings:
    """Set log p(x) beside the published numbers, and HEBAE beside the VAE."""
    by_label = {run.label: run for run in runs}
    found: dict[str, list[RunResult]] = {}
    named = variants(budget)
    for key, variant in named.items():
        planned = [run.label for run in _planned(budget, variant)]
        if group := [by_label[label] for label in planned if label in by_label]:
            found[key] = group
    s = runs[0].settings
    title = f"Binary MNIST, k = {s.latent_dim}, {s.epochs} epochs"
    labels = {key: named[key].label for key in found}
    drawing = Drawing("binary", draw(labels, found, title), title, TEXTS["caption"])
    tables = [published()]
    for images in ("fixed", "dynamic"):  # each apart: the best is marked among comparable numbers
        columns = {labels[key]: group for key, group in found.items() if key.startswith(images)}
        if columns:
            table = tabulate(columns, f"{title}, {images}", ids=headings(QUANTITIES))
            tables.insert(0, table.transposed())
    return Findings(state(found), tables, [drawing], list(TEXTS["notes"].values()))


def state(found: Mapping[str, Sequence[RunResult]]) -> list[Statement]:
    """Compare log p(x) of HEBAE and VAE."""
    statements = []
    for key, words in TEXTS["statements"].items():
        if not {words["better"], words["worse"]} <= found.keys():
            continue
        ours, theirs = (
            [run.value(LIKELIHOOD) for run in found[words[side]]] for side in ("better", "worse")
        )
        (first, a), (second, b) = describe("hebae", ours, ".2f"), describe("vae", theirs, ".2f")
        case = order(ours, theirs)
        text = f"{words['names'][0]} {first}; {words['names'][1]} {second}"
        statements.append(Statement(key, words["text"], text, {**a, **b}, verdict(case), "ours"))
    return statements


def published() -> Table:
    """Tabulate the numbers of other papers, as they state them."""
    words = TEXTS["published"]
    rows = [Row(one["name"], [f"{one['value']:.2f}", *one["about"]]) for one in words["rows"]]
    return Table(words["title"], words["columns"], rows, [words["note"]])


def draw(labels: Mapping[str, str], found: Mapping[str, Sequence[RunResult]], title: str) -> Any:
    """Draw the main quantities, one row per variant, the two binarisations apart."""
    panels = []
    for one in QUANTITIES.values():
        if not one.get("drawn"):
            continue
        numbers = [
            [v for run in group if (v := run.value(one["id"])) is not None]
            for group in found.values()
        ]
        panels.append(RangePanel(numbers, one["title"], one["note"], one["better"]))
    rows = [RowLabel(labels[key], group[0].method) for key, group in found.items()]
    dynamic = sum(key.startswith("dynamic") for key in found)
    return range_panels(rows, panels, breaks=[dynamic], apart=True, title=title)


STUDY = Study(
    "binary",
    plan,
    ("reconstruction", "elbo", "iwae", "moments"),
    conclude,
    {"iwae_samples": 5000, "iwae_examples": 2000},
    optional=(FIXED,),
)
