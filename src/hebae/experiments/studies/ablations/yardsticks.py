"""The numbers that ablations are judged by, and those that are shown beside them."""

from __future__ import annotations

from hebae.experiments.evaluation.metrics.code import MEAN
from hebae.experiments.reproduction.ablation import Yardstick
from hebae.experiments.reproduction.side_by_side import Quantity

__all__ = ["CORRELATION", "DISTANCE", "ERROR", "EXCESS", "LIKELIHOOD", "SHOWN"]

CORRELATION = Yardstick("correlation", Quantity("moments", f"|correlation| of {MEAN}"), ".4f")
LIKELIHOOD = Yardstick("likelihood", Quantity("iwae", "fitted width"), ".1f", lower=False)
DISTANCE = Yardstick("normality", Quantity("moments", f"KL of {MEAN}'s normal"), ".3f")
EXCESS = Yardstick("excess", Quantity("objective", "penalty over noise floor"), ".3f")
ERROR = Yardstick("reconstruction", Quantity("reconstruction", "squared error"), ".2f")
SHOWN = (
    Quantity("reconstruction", "log p(x | mu(x))"),
    ERROR.quantity,
    Quantity("elbo", "ELBO"),
    LIKELIHOOD.quantity,
    Quantity("objective", "penalty: moments"),
    EXCESS.quantity,
    CORRELATION.quantity,
    DISTANCE.quantity,
    Quantity("frechet", ", N(0, I)"),
    Quantity("frechet", ", mixture"),
)
