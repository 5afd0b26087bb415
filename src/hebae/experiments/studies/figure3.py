"""Figure 3: reconstructions, interpolations and samples of CelebA models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hebae import inference
from hebae.experiments.evaluation.metrics.samples import SAMPLERS
from hebae.experiments.reproduction import faces
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.claims import best
from hebae.experiments.reproduction.codes import records
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.side_by_side import Quantity, side_by_side
from hebae.experiments.reproduction.study import Drawing, Findings, FinishedRun, Study
from hebae.report import images
from hebae.report.methods import display_name

if TYPE_CHECKING:
    from hebae.experiments.evaluation.subject import Subject

RECONSTRUCTIONS, PAIRS, STEPS = 12, 3, 10
ACROSS, DOWN = 6, 6
WAYS = ("normal", "mixture")
ERROR = Quantity("reconstruction", "squared error")


def plan(budget: Budget) -> list[PlannedRun]:
    """Three methods at the preset's weights, as in figure 2."""
    return [faces.face_run(budget, method) for method in faces.METHODS]


def measures(budget: Budget, run: PlannedRun) -> Sequence[str]:
    """Reconstruction; how good samples are, figure 1b says."""
    return ("reconstruction",)


def conclude(budget: Budget, runs: Sequence[FinishedRun]) -> Findings:
    """Draw the same examples, pairs and draws of z for all methods."""
    errors = {run.method: run.value(*ERROR) for run in runs}
    says = "HEBAE reconstructs test images the best"
    claim = best("reconstruction", says, "squared error an image", errors, ".1f", lower=True)
    done = [run for run in runs if not run.diverged]
    table = side_by_side(
        {display_name(run.method): [run] for run in done},
        [Quantity("reconstruction", "log p(x | mu(x))"), ERROR],
        f"Reconstruction, {faces.words(runs[0].planned)}",
    )
    drawings = _draw(done) if done else []
    return Findings([claim], [table], records(runs), drawings, faces.notes(budget))


def _draw(runs: Sequence[FinishedRun]) -> list[Drawing]:
    subjects = {run.method: run.subject() for run in runs}
    some = next(iter(subjects.values())).some(RECONSTRUCTIONS + 2 * PAIRS)
    shown, ends = some[:RECONSTRUCTIONS], some[RECONSTRUCTIONS:]
    words, hidden = faces.words(runs[0].planned), faces.shows_faces(runs[0].planned)

    def of_each(make: Callable[[Subject], np.ndarray]) -> dict[str, np.ndarray]:
        return {method: make(subject) for method, subject in subjects.items()}

    figures = {
        "Reconstructions": images.reconstructions(
            shown / np.float32(255),
            of_each(lambda subject: inference.reconstruct(subject.model, shown)),
            title=f"Reconstructions of test images, {words}",
        ),
        "Interpolations": images.interpolations(
            of_each(
                lambda subject: inference.interpolate(
                    subject.model, ends[:PAIRS], ends[PAIRS:], STEPS
                )
            ),
            title=f"Interpolations between test images, {words}",
        ),
        "Samples": images.sample_table(
            {
                method: {SAMPLERS[way]: subject.shown(way, ACROSS * DOWN) for way in WAYS}
                for method, subject in subjects.items()
            },
            ACROSS,
            title=f"Samples, {words}",
        ),
    }
    captions = {
        "Reconstructions": "Test images at random, the same for all methods; x decoded from mu(x).",
        "Interpolations": "Straight lines between the codes of pairs, the same for all methods; "
        "framed, the reconstructed ends.",
        "Samples": "Means of p(x|z), not chosen. Left, z from N(0, I), the paper's way and the "
        "same draws for all methods; right, from a mixture of normals fitted to training codes.",
    }
    return [
        Drawing(f"figure3-{title.lower()}", figure, title, captions[title], hidden)
        for title, figure in figures.items()
    ]


STUDY = Study(
    name="figure3",
    title="Figure 3: reconstructions, interpolations and samples, CelebA",
    paper="The paper shows test images reconstructed, lines between two codes decoded, and samples "
    "of HEBAE, VAE and WAE-MMD, and finds HEBAE's the best; it gives no number but the FID.",
    plan=plan,
    measures=measures,
    conclude=conclude,
    evaluation={"samplers": WAYS},
    deviations=("signs", "half", "noise", "budgets", "bytes", "batchnorm", "decoder"),
)
