"""What the studies of faces share: runs of the preset celeba, and the units of their λ."""

from __future__ import annotations

from functools import cache
from typing import Any

from hebae.errors import HebaeError
from hebae.evaluation.features.networks import (
    EFFICIENTNET,
    efficientnet_features,
    inception_features,
)
from hebae.experiments.plan import PlannedRun
from hebae.paper.budgets import THREE, Budget, data_of
from hebae.paper.study import STUDIES, Runs
from hebae.report.methods import display_name
from hebae.report.tables import Row, Table
from hebae.training.checks import weight_of_mean_squared_error

WEIGHTS = {"hebae": 12.288, "vae": 12.288, "wae": 2000.0}
"""Weights of the preset, relative to the summed squared error of images in [-1, 1]."""
SHAPES = {"celeba": (3, 64, 64), "synthetic-faces": (3, 12, 12)}


def face_run(budget: Budget, method: str, factor: float = 1.0, **changes: Any) -> PlannedRun:
    """Plan a run of the preset celeba with its penalty weight multiplied by `factor`.

    At a factor of 1 the weight is not declared, so that all studies share the run.
    """
    if factor != 1:
        changes["penalty_weight"] = float(f"{WEIGHTS[method] * factor:.6g}")
    return budget.run("celeba", method, **changes)


def data_name(planned: PlannedRun) -> str:
    """Return the name of the data set for people."""
    return "CelebA" if data_of(planned) == "celeba" else data_of(planned)


def label(planned: PlannedRun) -> str:
    """Return data set and k for titles."""
    return f"{data_name(planned)}, k = {planned.settings.latent_dim}"


def features(planned: PlannedRun) -> tuple[str, ...] | None:
    """Return the features in which samples are compared; None for those of ``hebae evaluate``.

    CelebA has no labels to train a classifier on, and more pixels than test images. Samples are
    compared in the features of an untrained network, of EfficientNet-Lite0 if it is installed, and
    of Inception if its weights are available.
    """
    if data_of(planned) != "celeba":
        return None
    trained = {"inception": inception_problem(), EFFICIENTNET: efficientnet_problem()}
    return *(name for name, problem in trained.items() if not problem), "random"


@cache
def inception_problem() -> str:
    """Return why Inception is not available; "" if it is."""
    try:
        inception_features()
    except HebaeError as error:
        # What to do about it names folders of the machine that measured.
        return str(error).partition("; put a copy at ")[0].rstrip(".")
    return ""


@cache
def efficientnet_problem() -> str:
    """Return why EfficientNet-Lite0 is not available; "" if it is."""
    try:
        efficientnet_features()
    except HebaeError as error:
        return str(error).rstrip(".")
    return ""


def weight_table(runs: Runs) -> Table:
    """Tabulate each λ in its units, for images in [-1, 1]."""
    settings_of = [run.settings for run in runs if run.settings.seed == runs[0].settings.seed]
    settings_of.sort(key=lambda s: s.penalty_weight)
    rows = []
    for settings in zip(*([s for s in settings_of if s.method == m] for m in THREE), strict=True):
        in_units = {
            "the summed squared error": [s.penalty_weight for s in settings],
            "the mean squared error": [
                weight_of_mean_squared_error(s, SHAPES[s.data]) for s in settings
            ],
            # as the WAE's authors count
            "0.05 times the summed squared error": [
                0.05 * s.penalty_weight if s.method == "wae" else "" for s in settings
            ],
        }
        section = f"{settings[0].penalty_weight / WEIGHTS['hebae']:.4g} × the preset's λ"
        rows += [
            Row(f"relative to {unit}", cells, section=section) for unit, cells in in_units.items()
        ]
    title = f"λ in each of its units, {label(runs[0])}"
    names = [display_name(method) for method in THREE]
    return Table(title, names, rows, [STUDIES["faces"]["units"]])


def notes(budget: Budget) -> list[str]:
    """Return the limitations of a budget's data and networks."""
    texts = STUDIES["faces"]
    if budget.is_smoke:
        return [texts["smoke"]]
    return [texts["fid"], texts["subset"], *([texts["small"]] if budget.name == "small" else [])]
