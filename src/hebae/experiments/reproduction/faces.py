"""What the studies of faces share: runs of the preset celeba, and lambda in both of its units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.study import FinishedRun
from hebae.report.methods import display_name
from hebae.report.tables import Row, Table
from hebae.training.checks import weight_of_mean_squared_error

__all__ = [
    "METHODS",
    "PRESET",
    "face_run",
    "notes",
    "shows_faces",
    "weight_table",
    "weights",
    "words",
]

METHODS = ("hebae", "vae", "wae")
PRESET = {"hebae": 12.288, "vae": 12.288, "wae": 2000.0}
"""Weights of the preset, against the summed squared error of images in [-1, 1]."""
SHAPES = {"celeba": (3, 64, 64), "made-faces": (3, 12, 12)}
OF_THE_WAE = 0.05
"""The WAE's authors weigh the summed squared error by this, and so count lambda in 0.05 of ours."""


def face_run(budget: Budget, method: str, factor: float = 1.0, **changes: Any) -> PlannedRun:
    """Plan a run of the preset celeba, its weight multiplied by `factor`.

    The preset's own weight is not named, so that all studies share the run.
    """
    if factor != 1:
        changes["penalty_weight"] = float(f"{PRESET[method] * factor:.6g}")
    return budget.run("celeba", method, **changes)


def words(planned: PlannedRun) -> str:
    """Name the data and k for a title."""
    data = "CelebA" if shows_faces(planned) else planned.data
    return f"{data}, k = {planned.settings.latent_dim}"


def shows_faces(planned: PlannedRun) -> bool:
    """Whether pictures of its examples or samples are of people."""
    return planned.data != "made-faces"


def weights(planned: PlannedRun) -> dict[str, float | None]:
    """Return lambda in its units: against the sum, the mean, and as the WAE's authors count it."""
    settings = planned.settings
    total = settings.penalty_weight
    return {
        "the sum of squared errors": total,
        "their mean": weight_of_mean_squared_error(settings, SHAPES[planned.data]),
        "0.05 of their sum": OF_THE_WAE * total if settings.method == "wae" else None,
    }


def weight_table(runs: Sequence[FinishedRun]) -> Table:
    """Tabulate each lambda in its units, of images in [-1, 1]."""
    columns: dict[str, list[PlannedRun]] = {method: [] for method in METHODS}
    for run in sorted(runs, key=lambda run: run.planned.settings.penalty_weight):
        if run.planned.settings.seed == runs[0].planned.settings.seed:
            columns[run.method].append(run.planned)
    rows = []
    for members in zip(*columns.values(), strict=True):
        in_units = [weights(planned) for planned in members]
        factor = members[0].settings.penalty_weight / PRESET[members[0].settings.method]
        rows += [
            Row(f"against {unit}", [_said(w[unit]) for w in in_units], section=f"{factor:.4g}")
            for unit in in_units[0]
        ]
    title = f"λ by its ratio to the preset's, {words(runs[0].planned)}"
    said = [
        "Errors of images in [-1, 1]. The released code counts HEBAE's and the VAE's λ against the "
        "mean, the WAE's against 0.05 of the sum."
    ]
    return Table(title, [display_name(method) for method in METHODS], rows, said)


def _said(weight: float | None) -> float | str:
    return "" if weight is None else weight


def notes(budget: Budget) -> list[str]:
    """Say what the data and networks of a budget are."""
    if budget.name == "smoke":
        return ["made-faces are 12 x 12 drawings made on the spot: nothing here is of CelebA."]
    said = [
        "The paper says neither how many samples its FID takes nor what it holds them against. A "
        "distance in random-convolutional features, an untrained network's, is no FID: it sees "
        "edges, blur and noise, and orders the models of this page alone.",
        "15,129 training images, where the data line names so many, are a tenth of CelebA and are "
        "not CelebA: a model has less to learn from, the images were compressed twice, and no "
        "number can be held against one that was published.",
    ]
    if budget.name == "small":
        said.append(
            "The networks have an eighth of the paper's widths, and learn for 6 epochs at a rate "
            "of 1e-3 in place of 70 at 1e-4: what is shown is that all runs, and in which order "
            "the methods then stand, not what the paper trained."
        )
    return said
