"""Figure 3: reconstructions, interpolations and samples of faces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hebae import inference
from hebae.experiments.plan import PlannedRun
from hebae.experiments.table import tabulate
from hebae.experiments.trained_run import TrainedRun
from hebae.paper import faces
from hebae.paper.budgets import THREE, Budget, Plan
from hebae.paper.figure4 import SHOWN_SAMPLERS, draw_samples
from hebae.paper.statements import compare_all
from hebae.paper.study import STUDIES, Drawing, Findings, Runs, Study, method_columns
from hebae.report import images

ROWS = (
    "reconstruction.negative_log_likelihood",
    "reconstruction.squared_error",
    "frechet.normal",
    "frechet.mixture",
    "frechet.reconstructions",
)
RECONSTRUCTIONS, PAIRS, STEPS = 12, 3, 10
ACROSS, DOWN = 6, 6


def plan(budget: Budget) -> Plan:
    """Three methods at the preset's weights, as in figure 2."""
    return [faces.face_run(budget, method) for method in THREE]


def conclude(budget: Budget, runs: Runs) -> Findings:
    """Draw the same examples, pairs and draws of z for all methods."""
    title = f"Reconstructions and samples, {faces.label(runs[0])}"
    table = tabulate(method_columns(runs), title, ids=ROWS)
    drawings = draw({r.method: r.open() for r in runs if not r.diverged}, runs[0])
    return Findings(compare_all("figure3", runs), [table], drawings, faces.notes(budget))


def draw(models: dict[str, TrainedRun], planned: PlannedRun) -> list[Drawing]:
    """Draw reconstructions, interpolations and samples; nothing if every run diverged."""
    if not models:
        return []
    examples = next(iter(models.values())).some(RECONSTRUCTIONS + 2 * PAIRS)
    shown, ends = examples[:RECONSTRUCTIONS], examples[RECONSTRUCTIONS:]
    of = faces.label(planned)

    def each(make: Callable[[TrainedRun], np.ndarray]) -> dict[str, np.ndarray]:
        return {method: make(run) for method, run in models.items()}

    reconstructed = each(lambda run: inference.reconstruct(run.model, shown))
    between = each(lambda run: inference.interpolate(run.model, ends[:PAIRS], ends[PAIRS:], STEPS))
    figures = {
        "Reconstructions": images.reconstructions(
            shown.values / np.float32(255),
            reconstructed,
            title=f"Reconstructions of test images, {of}",
        ),
        "Interpolations": images.interpolations(
            between, title=f"Interpolations between test images, {of}"
        ),
        "Samples": draw_samples(models, ACROSS, DOWN, f"Samples, {of}"),
    }
    captions, private = STUDIES["figure3"]["captions"], faces.data_name(planned) == "CelebA"
    return [
        Drawing(f"figure3-{title.lower()}", figure, title, captions[title], private)
        for title, figure in figures.items()
    ]


STUDY = Study(
    "figure3", plan, ("reconstruction", "frechet"), conclude, {"samplers": SHOWN_SAMPLERS}
)
