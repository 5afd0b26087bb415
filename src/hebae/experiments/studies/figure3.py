"""Figure 3: reconstructions, interpolations and samples of CelebA models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hebae.experiments.reproduction import faces, pictures
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.claims import best
from hebae.experiments.reproduction.codes import records
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.reproduction.side_by_side import Quantity, side_by_side
from hebae.experiments.reproduction.study import Findings, FinishedRun, Study
from hebae.report.methods import display_name

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
    planned = runs[0].planned
    drawings = pictures.draw(
        {run.method: run.subject() for run in done},
        WAYS,
        of=faces.words(planned),
        shows_faces=faces.shows_faces(planned),
    )
    drawings = [replace(d, name=f"figure3-{d.name}") for d in drawings]
    return Findings([claim], [table], records(runs), drawings, faces.notes(budget))


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
