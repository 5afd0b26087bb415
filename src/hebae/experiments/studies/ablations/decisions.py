"""Each decision that the paper and its released code take, its alternative, and their runs."""

from __future__ import annotations

from typing import Any

from hebae.experiments.reproduction import faces
from hebae.experiments.reproduction.ablation import Ablation, Contrast
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.plan import PlannedRun
from hebae.experiments.studies.ablations.yardsticks import (
    CORRELATION,
    DISTANCE,
    ERROR,
    EXCESS,
    LIKELIHOOD,
    SHOWN,
)
from hebae.report.methods import display_name

__all__ = ["BATCHES", "decisions"]

WEIGHTS = {"hebae": 1.0, "vae": 1.0, "wae": 10.0}
BATCHES = (72, 100, 128, 256, 512, 1000)
"""At k = 64: with 64 examples or fewer Sigma is singular, and training is refused."""


def decisions(budget: Budget) -> list[Ablation]:
    """Return each decision with its runs."""

    def mnist(method: str = "hebae", preset: str = "mnist", **changes: Any) -> list[PlannedRun]:
        changes = {"latent_dim": 20, "penalty_weight": WEIGHTS[method]} | changes
        return [budget.run(preset, method, seed=seed, **changes) for seed in budget.seeds]

    def of_faces(**changes: Any) -> list[PlannedRun]:
        return [faces.face_run(budget, "hebae", seed=seed, **changes) for seed in budget.seeds]

    sizes = BATCHES[1::4] if budget.name == "smoke" else BATCHES
    by_size = {f"m = {m}": mnist(latent_dim=64, batch_size=m) for m in sizes}
    by_preset = {
        f"{display_name(method)}, {preset}": mnist(method, preset)
        for method in WEIGHTS
        for preset in ("mnist", "mnist-released")
    }
    (smallest, *_), (*_, largest) = by_size, by_size
    return [
        Ablation(
            "noise",
            "Noise by the Cholesky factor of Sigma, or by its diagonal: MNIST, k = 20",
            {"Cholesky": mnist(), "diagonal": mnist(noise="diagonal")},
            SHOWN,
            [
                Contrast(
                    "Cholesky noise: codes that correlate less", "Cholesky", "diagonal", CORRELATION
                ),
                Contrast("Cholesky noise: a higher log p(x)", "Cholesky", "diagonal", LIKELIHOOD),
            ],
            "The released code has the diagonal, and no gradient through it.",
        ),
        Ablation(
            "scale",
            "A sigma for each dimension, or one for all: MNIST, k = 20",
            {"vector": mnist(), "scalar": mnist(scale="scalar")},
            SHOWN,
            [
                Contrast(
                    "Vector sigma: codes that correlate less", "vector", "scalar", CORRELATION
                ),
                Contrast("Vector sigma: a higher log p(x)", "vector", "scalar", LIKELIHOOD),
            ],
            "Appendix B has the vector, Eq. 6 the scalar.",
        ),
        Ablation(
            "batch",
            "The batch size m against the noise floor: MNIST, k = 64",
            by_size,
            SHOWN,
            [
                Contrast(
                    "A larger batch: less penalty over its noise floor", largest, smallest, EXCESS
                ),
                Contrast(
                    "A larger batch: codes nearer to N(0, I), over all test images",
                    largest,
                    smallest,
                    DISTANCE,
                ),
                Contrast("A larger batch: a higher log p(x)", largest, smallest, LIKELIHOOD),
            ],
            "Epochs and learning rate are the same, so that larger batches take fewer steps. The "
            "penalty is of batches of m test images, and floor(m, k) is what codes from N(0, I) "
            "themselves would have.",
        ),
        Ablation(
            "batch-norm",
            "Batch normalisation in training mode, or frozen",
            {"by batches": of_faces(), "frozen": of_faces(batch_norm="frozen")},
            SHOWN,
            [
                Contrast(
                    "Normalisation by batches: a better reconstruction",
                    "by batches",
                    "frozen",
                    ERROR,
                ),
                Contrast(
                    "Normalisation by batches: codes that correlate less",
                    "by batches",
                    "frozen",
                    CORRELATION,
                ),
            ],
            "Frozen: statistics stay 0 and 1, as in the released code, probably. Weights begin at "
            "N(0, 0.02²); the fewer filters, the more a layer then shrinks its input, which "
            "normalisation makes up for.",
        ),
        Ablation(
            "released",
            "The released code's settings against the paper's: MNIST, k = 20",
            by_preset,
            SHOWN,
            [
                Contrast(
                    f"The paper's settings: a higher log p(x), {display_name(method)}",
                    f"{display_name(method)}, mnist",
                    f"{display_name(method)}, mnist-released",
                    LIKELIHOOD,
                )
                for method in WEIGHTS
            ],
            "The released code: Adam made anew each epoch; HEBAE diagonal noise; WAE beta1 0.5. "
            "Its epochs, 100 for HEBAE and 70 for the others, at the budget full alone.",
        ),
    ]
