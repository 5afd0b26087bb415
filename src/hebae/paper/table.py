"""The table: every metric of all methods at the paper's settings, over several seeds."""

from __future__ import annotations

from collections.abc import Sequence

from hebae.experiments.plan import PlannedRun
from hebae.experiments.table import tabulate
from hebae.paper.budgets import MNIST_WEIGHTS, Budget, Plan
from hebae.paper.statements import Statement, compare_all, describe, limit, values_of, verdict
from hebae.paper.study import STUDIES, Findings, Runs, Study, method_columns


def plan(budget: Budget) -> Plan:
    """MNIST, k = 20, four methods at the paper's weights, one run per seed."""
    return [
        budget.mnist(method, 20, seed=seed)
        for seed in budget.table_seeds
        for method in MNIST_WEIGHTS
    ]


def metrics(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """All metrics; for smoke the fast ones."""
    return ("fast",) if budget.is_smoke else ("all",)


def conclude(budget: Budget, runs: Runs) -> Findings:
    """Tabulate all measurements."""
    seeds, epochs = ", ".join(map(str, budget.table_seeds)), runs[0].settings.epochs
    title = f"MNIST, k = 20, {epochs} epochs, seeds {seeds}: test examples"
    notes = STUDIES["table"]["notes"]
    table = tabulate(method_columns(runs), title, [notes["objectives"]])
    return Findings(state(runs), [table], notes=[notes["targets"].format(epochs=epochs)])


def state(runs: Runs) -> list[Statement]:
    """Compare the methods over several seeds, and each with its targets."""
    statements = compare_all("table", runs)
    for key, words in STUDIES["table"]["targets"].items():
        found = values_of(runs, words["of"], [words["method"]]).get(words["method"], ())
        values = [value and words.get("sign", 1) * value for value in found]
        case = limit(values, words["limit"], above=words.get("above", False))
        result, numbers = describe("value", values, words["form"])
        statements.append(Statement(key, words["text"], result, numbers, verdict(case), "target"))
    return statements


STUDY = Study("table", plan, metrics, conclude, {"iwae_samples": 500})
